import { gzipSync } from 'node:zlib';
import type { Answer, Carried, ResolvedRange } from './fake-answer.ts';
import { Gate } from './gate.ts';
import type { Stored } from './image.ts';
import type { Origin, RecordedRequest } from './recorded-request.ts';

/**
 * Which answers a fault meets.
 *
 * Content by name meets the one answer that carries that content: not a challenge on the way
 * there, not a redirect (then the answer of the storage origin is met).
 * - `sha256:…` or a `Stored`: a manifest or blob, also when a manifest was asked for by tag
 * - `tag` or `repository:tag`: a manifest asked for by that tag
 *
 * Requests by shape meet any request as it arrives, before authorization and redirects count.
 * - `/v2/…`: exactly this path; `/token` is the token endpoint
 * - a RegExp on the path, or a predicate
 */
export type What = string | Stored | RegExp | ((request: RecordedRequest) => boolean);

export interface FaultOptions {
  /** How many answers it meets, in the order the faults were given. Default 1; Infinity: for good. */
  readonly times?: number;
  /** Meets only this method. Faults that touch the body meet GET unless told otherwise, the others both. */
  readonly method?: 'GET' | 'HEAD';
  readonly origin?: Origin;
}

export interface StatusOptions extends FaultOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly contentType?: string;
  /** Between its headers and its body. */
  readonly gate?: Gate;
}

/** Before the headers; or once the headers and so many body bytes of this answer were sent. */
export type Point = 'before headers' | number;

export type Failure =
  | { readonly kind: 'status'; readonly status: number; readonly options: StatusOptions }
  | { readonly kind: 'hang'; readonly gate: Gate }
  | { readonly kind: 'stall'; readonly after: number; readonly gate: Gate }
  | { readonly kind: 'cut'; readonly at: Point }
  | { readonly kind: 'corrupt'; readonly at: number }
  | { readonly kind: 'lieLength'; readonly delta: number };

/** What one answer has to suffer: at most one entry of each slot. */
export interface Plan {
  failure?: Failure;
  hold?: { readonly at: Point; readonly gate: Gate };
  ignoreRange?: true;
  wrongRange?: number;
  omitHeaders?: readonly string[];
  contentType?: string;
  encode?: { readonly header: string; readonly by: (bytes: Buffer) => Buffer };
  bytesPerSecond?: number;
}

interface Entry {
  readonly what: What;
  readonly options: FaultOptions;
  readonly effect: Plan;
  readonly needs: (answer: Answer, request: RecordedRequest, range?: ResolvedRange) => boolean;
  left: number;
}

const GET = { method: 'GET' } as const;
const always = (): boolean => true;
const isRanged = (answer: Answer, request: RecordedRequest): boolean =>
  answer.ranged === true && request.range !== undefined;

/** The verbs that make a fake registry misbehave, documented in fake-registry.ts, and the queue they fill. */
export class FakeFaults {
  #entries: Entry[] = [];

  hold(
    what: What,
    options: FaultOptions & { before?: 'headers'; after?: number | 'headers' } = {},
  ): Gate {
    const { before, after, ...rest } = options;
    if (before !== undefined && after !== undefined) {
      throw new TypeError('hold: give either `before` or `after`');
    }
    const at = after === undefined ? 'before headers' : after === 'headers' ? 0 : after;
    const gate = new Gate();
    this.#add(what, { ...(typeof at === 'number' && GET), ...rest }, { hold: { at, gate } });
    return gate;
  }

  cut(what: What, options: FaultOptions & { after?: number | 'request' } = {}): void {
    const { after = 0, ...rest } = options;
    const at = after === 'request' ? 'before headers' : after;
    const method = typeof at === 'number' && GET;
    this.#add(what, { ...method, ...rest }, { failure: { kind: 'cut', at } });
  }

  corrupt(what: What, options: FaultOptions & { at?: number } = {}): void {
    const { at = 0, ...rest } = options;
    const covers = ({ body }: Answer, _: unknown, range?: ResolvedRange): boolean =>
      at >= (range?.start ?? 0) && at < (range?.end ?? body.length);
    this.#add(what, { ...GET, ...rest }, { failure: { kind: 'corrupt', at } }, covers);
  }

  status(what: What, status: number, options: StatusOptions = {}): void {
    this.#add(what, options, { failure: { kind: 'status', status, options } });
  }

  hang(what: What, options: FaultOptions = {}): Gate {
    const gate = new Gate();
    this.#add(what, options, { failure: { kind: 'hang', gate } });
    return gate;
  }

  stall(what: What, options: FaultOptions & { after?: number } = {}): Gate {
    const { after = 0, ...rest } = options;
    const gate = new Gate();
    this.#add(what, { ...GET, ...rest }, { failure: { kind: 'stall', after, gate } });
    return gate;
  }

  lieLength(what: What, delta: number, options: FaultOptions = {}): void {
    this.#add(what, { ...GET, ...options }, { failure: { kind: 'lieLength', delta } });
  }

  ignoreRange(what: What, options: FaultOptions = {}): void {
    this.#add(what, { ...GET, ...options }, { ignoreRange: true }, isRanged);
  }

  wrongRange(what: What, options: FaultOptions & { shift: number }): void {
    const { shift, ...rest } = options;
    this.#add(what, { ...GET, ...rest }, { wrongRange: shift }, isRanged);
  }

  slow(what: What, options: FaultOptions & { bytesPerSecond: number }): void {
    const { bytesPerSecond, ...rest } = options;
    this.#add(what, { ...GET, ...rest }, { bytesPerSecond });
  }

  omitHeaders(what: What, names: readonly string[], options: FaultOptions = {}): void {
    this.#add(what, options, { omitHeaders: names.map((name) => name.toLowerCase()) });
  }

  contentType(what: What, type: string, options: FaultOptions = {}): void {
    this.#add(what, options, { contentType: type });
  }

  encode(
    what: What,
    header: string,
    options: FaultOptions & { by?: (bytes: Buffer) => Buffer } = {},
  ): void {
    const { by = gzipSync, ...rest } = options;
    this.#add(what, { ...GET, ...rest }, { encode: { header, by } });
  }

  /** Forgets every fault that no answer has met yet. Gates already waited at stay shut. */
  heal(): void {
    this.#entries = [];
  }

  /** Takes from the queue what this answer has to suffer. */
  protected takeFaults(request: RecordedRequest, answer: Answer, range?: ResolvedRange): Plan {
    const plan: Plan = {};
    const matches = (entry: Entry): boolean =>
      entry.left > 0 && meets(entry, request, answer) && entry.needs(answer, request, range);
    const failure = this.#entries.find((entry) => entry.effect.failure && matches(entry));
    if (failure) this.#take(failure, plan);
    const isReplaced = plan.failure?.kind === 'status';
    for (const entry of this.#entries) {
      const [slot] = Object.keys(entry.effect) as (keyof Plan)[];
      const fits = !isReplaced || entry.effect.hold?.at === 'before headers';
      if (slot !== undefined && !(slot in plan) && slot !== 'failure' && fits && matches(entry)) {
        this.#take(entry, plan);
      }
    }
    this.#entries = this.#entries.filter((entry) => entry.left > 0);
    return plan;
  }

  #take(entry: Entry, plan: Plan): void {
    entry.left--;
    Object.assign(plan, entry.effect);
  }

  #add(what: What, options: FaultOptions, effect: Plan, needs: Entry['needs'] = always): void {
    this.#entries.push({ what, options, effect, needs, left: options.times ?? 1 });
  }
}

function meets({ what, options }: Entry, request: RecordedRequest, answer: Answer): boolean {
  if (options.method !== undefined && options.method !== request.method) return false;
  if (options.origin !== undefined && options.origin !== request.origin) return false;
  return isMeant(what, request, answer.carries);
}

/** Whether `what` means this request; `carries` is the named content of its answer, if it has any. */
export function isMeant(what: What, request: RecordedRequest, carries?: Carried): boolean {
  if (typeof what === 'function') return what(request);
  if (what instanceof RegExp) return what.test(request.path);
  if (typeof what !== 'string') return carries?.digest === what.digest;
  if (what.startsWith('/')) return what === request.path;
  if (/^sha\d+:/.test(what)) return carries?.digest === what;
  if (carries?.tag === undefined) return false;
  return what === carries.tag || what === `${carries.repository}:${carries.tag}`;
}
