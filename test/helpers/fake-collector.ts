import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { ExecutionContext } from 'ava';
import { serve } from './serve.ts';

export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string;
  readonly state: string;
  readonly name: string;
  readonly facts: Readonly<Record<string, string | number | boolean>>;
  readonly links: readonly string[];
  readonly fault: string;
}

/** A collector that takes OTLP over HTTP, in protobuf. */
export class FakeCollector {
  readonly url: string;
  /** All that came, as it came. */
  readonly bodies: Buffer[];

  static async start(
    t: ExecutionContext,
    answer: (response: ServerResponse) => void = (response) => response.end(),
  ): Promise<FakeCollector> {
    const bodies: Buffer[] = [];
    const take = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      bodies.push(Buffer.concat(chunks));
      answer(response);
    };
    const server = createServer((request, response) => void take(request, response));
    const url = await serve(t, server);
    return new FakeCollector(new URL('/v1/traces', url).href, bodies);
  }

  constructor(url: string, bodies: Buffer[]) {
    this.url = url;
    this.bodies = bodies;
  }

  get spans(): CollectedSpan[] {
    return this.bodies
      .flatMap((body) => messages(body, 1))
      .flatMap((resource) => messages(resource, 2))
      .flatMap((scope) => messages(scope, 2))
      .map(readSpan);
  }

  /** The names of the spans of a trace below one of them, with how they hang together. */
  tree(parentId: string, depth = 0): string[] {
    return this.spans
      .filter((span) => span.parentId === parentId)
      .flatMap((span) => [
        `${'  '.repeat(depth)}${span.name}`,
        ...this.tree(span.spanId, depth + 1),
      ]);
  }
}

function readSpan(span: Buffer): CollectedSpan {
  const facts = messages(span, 9).map((pair) => {
    const [value = Buffer.alloc(0)] = messages(pair, 2);
    const [[kind, told] = [0, '']] = [...fields(value)];
    const text = Buffer.isBuffer(told) ? told.toString() : told;
    return [textOf(pair, 1), kind === 2 ? text === 1 : text] as const;
  });
  const [status = Buffer.alloc(0)] = messages(span, 15);
  return {
    traceId: hex(span, 1),
    spanId: hex(span, 2),
    state: textOf(span, 3),
    parentId: hex(span, 4),
    name: textOf(span, 5),
    facts: Object.fromEntries(facts),
    links: messages(span, 13).map((link) => hex(link, 2)),
    fault: textOf(status, 2),
  };
}

function messages(bytes: Buffer, wanted: number): Buffer[] {
  return [...fields(bytes)].flatMap(([field, value]) =>
    field === wanted && Buffer.isBuffer(value) ? [value] : [],
  );
}

function hex(bytes: Buffer, field: number): string {
  return messages(bytes, field)[0]?.toString('hex') ?? '';
}

function textOf(bytes: Buffer, field: number): string {
  return messages(bytes, field)[0]?.toString() ?? '';
}

/** https://protobuf.dev/programming-guides/encoding/ */
function* fields(bytes: Buffer): Generator<[field: number, value: Buffer | number]> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++]!;
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  const take = (length: number): Buffer => bytes.subarray(at, (at += length));
  while (at < bytes.length) {
    const key = varint();
    const [field, type] = [key >> 3, key & 7];
    if (type === 0) yield [field, varint()];
    else if (type === 1) yield [field, take(8).readDoubleLE()];
    else if (type === 5) yield [field, take(4).readFloatLE()];
    else yield [field, take(varint())];
  }
}
