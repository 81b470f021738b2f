import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer, ResolvedRange } from './fake-answer.ts';
import type { Failure, Plan, Point } from './fake-faults.ts';
import type { Gate } from './gate.ts';
import type { RecordedRequest } from './recorded-request.ts';

interface Parts {
  readonly request: RecordedRequest;
  readonly response: ServerResponse;
  readonly plan: Plan;
  /** For the header `Date`. */
  readonly now: () => number;
}

interface Shaped {
  readonly status: number;
  readonly headers: Record<string, string | string[]>;
  readonly body: Buffer;
}

interface Stop {
  readonly at: number;
  readonly gate: Gate | 'cut';
}

const SLICE = 256 * 1024;

/** Sends one answer, bent and broken the way its plan says. */
export class FakeTransmission {
  readonly #request: RecordedRequest;
  readonly #now: () => number;
  readonly #response: ServerResponse;
  readonly #plan: Plan;
  readonly #closed: Promise<void>;

  constructor({ request, response, plan, now }: Parts) {
    this.#now = now;
    this.#request = request;
    this.#response = response;
    this.#plan = plan;
    this.#closed = request.closed;
  }

  async send(answer: Answer, range: ResolvedRange | 'unsatisfiable' | undefined): Promise<void> {
    const { failure, hold } = this.#plan;
    if (hold?.at === 'before headers') await hold.gate.pass(this.#closed);
    if (failure?.kind === 'hang') await failure.gate.pass(this.#closed);
    if (failure?.kind === 'cut' && failure.at === 'before headers') this.#destroy();
    if (this.#response.destroyed) return;
    const shaped = omit(shape(answer, range, this.#plan), this.#plan.omitHeaders ?? []);
    this.#request.status = shaped.status;
    this.#response.sendDate = false;
    if (!this.#plan.omitHeaders?.includes('date')) {
      this.#response.setHeader('date', new Date(this.#now()).toUTCString());
    }
    this.#response.writeHead(shaped.status, shaped.headers);
    if (this.#request.method === 'HEAD' || shaped.status === 304) {
      this.#response.end();
      return;
    }
    await this.#body(shaped.body);
  }

  async #body(body: Buffer): Promise<void> {
    let sent = 0;
    for (const { at, gate } of this.#stops()) {
      const end = Math.max(sent, Math.min(at, body.length));
      await this.#bytes(body.subarray(sent, end));
      sent = end;
      await this.#flush();
      if (gate === 'cut') this.#destroy();
      else await gate.pass(this.#closed);
      if (this.#response.destroyed) return;
    }
    await this.#bytes(body.subarray(sent));
    const { failure } = this.#plan;
    if (failure?.kind !== 'lieLength') {
      this.#response.end();
      return;
    }
    await this.#flush();
    this.#destroy();
  }

  #stops(): Stop[] {
    const { failure, hold } = this.#plan;
    const stops: Stop[] = [];
    if (hold && isInBody(hold.at)) stops.push({ at: hold.at, gate: hold.gate });
    if (failure?.kind === 'status' && failure.options.gate) {
      stops.push({ at: 0, gate: failure.options.gate });
    }
    if (failure?.kind === 'stall') stops.push({ at: failure.after, gate: failure.gate });
    if (failure?.kind === 'cut' && isInBody(failure.at)) {
      stops.push({ at: failure.at, gate: 'cut' });
    }
    return stops.toSorted((a, b) => a.at - b.at);
  }

  async #bytes(bytes: Buffer): Promise<void> {
    const { bytesPerSecond } = this.#plan;
    const slice = bytesPerSecond === undefined ? SLICE : Math.ceil(bytesPerSecond / 50);
    for (let sent = 0; sent < bytes.length && !this.#response.destroyed; sent += slice) {
      const part = bytes.subarray(sent, sent + slice);
      this.#request.bytesSent += part.length;
      if (!this.#response.write(part)) await this.#drained();
      if (bytesPerSecond !== undefined) {
        await sleep((slice / bytesPerSecond) * 1000, undefined, { ref: false });
      }
    }
  }

  async #drained(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#response.once('drain', resolve);
    await Promise.race([promise, this.#closed]);
    this.#response.off('drain', resolve);
  }

  /** Resolves once the kernel has everything written so far, so that destroying loses nothing. */
  async #flush(): Promise<void> {
    const { socket } = this.#response;
    this.#response.flushHeaders();
    if (!socket || socket.destroyed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    socket.write('', () => resolve());
    await Promise.race([promise, this.#closed]);
  }

  #destroy(): void {
    this.#response.destroy();
  }
}

function isInBody(point: Point): point is number {
  return typeof point === 'number';
}

function shape(
  answer: Answer,
  range: ResolvedRange | 'unsatisfiable' | undefined,
  plan: Plan,
): Shaped {
  const { failure, contentType } = plan;
  const headers = { ...answer.headers };
  if (contentType !== undefined) headers['Content-Type'] = contentType;
  if (plan.encode) {
    const { header, by } = plan.encode;
    const body = by(answer.body);
    const encoded = { ...answer, headers: { ...headers, 'Content-Encoding': header }, body };
    const { encode: _, ...others } = plan;
    return shape(encoded, within(range, answer.body.length, body.length), others);
  }
  const size = answer.body.length;
  if (range === 'unsatisfiable' && !plan.ignoreRange) {
    const extra = { 'Content-Range': `bytes */${size}`, 'Content-Length': '0' };
    return { status: 416, headers: { ...headers, ...extra }, body: Buffer.alloc(0) };
  }
  const part = range === 'unsatisfiable' || plan.ignoreRange ? undefined : range;
  const { start, end } = shift(part ?? { start: 0, end: size }, plan.wrongRange ?? 0, size);
  const { body, length } = bend(answer.body, start, end, failure);
  // A 304 describes the answer it stands for, and has no length of its own.
  if (answer.status !== 304) headers['Content-Length'] = String(length);
  if (!part) return { status: answer.status, headers, body };
  headers['Content-Range'] = `bytes ${start}-${end - 1}/${size}`;
  return { status: 206, headers, body };
}

/** The same range of a longer or shorter body. */
function within(
  range: ResolvedRange | 'unsatisfiable' | undefined,
  from: number,
  to: number,
): ResolvedRange | 'unsatisfiable' | undefined {
  if (range === undefined || range === 'unsatisfiable') return range;
  const end = range.end === from ? to : Math.min(range.end, to);
  return range.start < end ? { start: range.start, end } : 'unsatisfiable';
}

function shift({ start, end }: ResolvedRange, by: number, size: number): ResolvedRange {
  const from = Math.max(0, Math.min(start + by, size - 1));
  return by === 0
    ? { start, end }
    : { start: from, end: Math.max(from + 1, Math.min(end + by, size)) };
}

/** The bytes of the body and the length that is claimed for them. */
function bend(
  content: Buffer,
  start: number,
  end: number,
  failure: Failure | undefined,
): { body: Buffer; length: number } {
  const body = content.subarray(start, end);
  if (failure?.kind === 'lieLength') {
    const length = Math.max(0, body.length + failure.delta);
    return { body: body.subarray(0, length), length };
  }
  if (failure?.kind !== 'corrupt') return { body, length: body.length };
  const copy = Buffer.from(body);
  const at = failure.at - start;
  copy[at] = (copy[at] ?? 0) ^ 0xff;
  return { body: copy, length: body.length };
}

function omit(shaped: Shaped, names: readonly string[]): Shaped {
  const kept = Object.entries(shaped.headers).filter(
    ([name]) => !names.includes(name.toLowerCase()),
  );
  return { ...shaped, headers: Object.fromEntries(kept) };
}
