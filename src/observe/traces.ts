import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingHttpHeaders } from 'node:http';
import { redact } from './secret-shapes.ts';

/** What a span says; what is undefined is left out. Never a query, a header or a body. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** Where work stands in a trace, in the words of https://www.w3.org/TR/trace-context/. */
export interface TraceContext {
  readonly traceparent: string;
  readonly tracestate?: string | undefined;
}

/** A piece of work that is being told of. */
export interface OpenSpan {
  readonly context: TraceContext;
  add(facts: SpanAttributes): void;
  /** Work of another trace that this one waits for. */
  link(context: TraceContext): void;
  /** `fault`: why it failed. */
  end(name?: string, fault?: string): void;
}

/** Who a span is about: a request that came, one that goes out, or work in between. */
export type SpanKind = 'server' | 'client' | 'internal';

/** What makes spans, and sends them away behind the work. */
export interface Tracer {
  start(name: string, kind: SpanKind, parent: TraceContext | undefined): OpenSpan;
  /** Ends soon, whatever becomes of the spans that wait. */
  close(): Promise<void>;
}

/** What the work of this moment is a part of. */
interface Current {
  readonly context: TraceContext;
  readonly span?: OpenSpan;
  readonly tracer?: Tracer;
}

const current = new AsyncLocalStorage<Current | undefined>();

/** Others cannot read more of it. */
const MAX_STATE_LENGTH = 512;

/**
 * The traces of clients' requests. A client's `traceparent` and `tracestate` go on to the upstream, also
 * where nothing is configured; with a tracer the work done for it makes spans below it. A request that is
 * part of no trace, without a tracer, costs one look at its headers.
 */
export class Traces {
  readonly #tracer: Tracer | undefined;

  constructor(tracer?: Tracer) {
    this.#tracer = tracer;
  }

  get makesSpans(): boolean {
    return this.#tracer !== undefined;
  }

  /** The trace of a request that came; `undefined` where there is nothing to tell anybody. */
  receive(headers: IncomingHttpHeaders): Current | undefined {
    const parent = contextOf(headers);
    const tracer = this.#tracer;
    if (!tracer) return parent && { context: parent };
    const span = tracer.start('request', 'server', parent);
    return { context: span.context, span, tracer };
  }

  async close(): Promise<void> {
    await this.#tracer?.close();
  }

  /** Does the work as a part of this. */
  static follow<Value>(trace: Current, work: () => Value): Value {
    return current.run(trace, work);
  }

  /** Does work that goes on for nobody who asks now. */
  static apart<Value>(work: () => Value): Value {
    return current.getStore() ? current.run(undefined, work) : work();
  }

  /** Does a piece of the work of this moment, and tells of it. */
  static async span<Value>(
    name: string,
    work: () => Promise<Value>,
    { kind = 'internal', facts }: { kind?: SpanKind; facts?: SpanAttributes } = {},
  ): Promise<Value> {
    const outer = current.getStore();
    if (!outer?.tracer) return work();
    const { tracer, context } = outer;
    const span = tracer.start(name, kind, context);
    if (facts) span.add(facts);
    try {
      const value = await current.run({ context: span.context, span, tracer }, work);
      span.end();
      return value;
    } catch (error) {
      const fault = error instanceof Error ? error.message : String(error);
      span.end(undefined, redact(fault));
      throw error;
    }
  }

  /** Says more of the piece of work that is under way. */
  static add(facts: SpanAttributes): void {
    current.getStore()?.span?.add(facts);
  }

  /** Says that it waits for work that others have begun. */
  static link(context: TraceContext | undefined): void {
    if (context) current.getStore()?.span?.link(context);
  }

  /** Of the work of this moment; none where there are no spans. */
  static get here(): TraceContext | undefined {
    return current.getStore()?.span?.context;
  }

  /** The headers of a request to an upstream. */
  static get headers(): Readonly<Record<string, string>> {
    const context = current.getStore()?.context;
    if (!context) return NO_HEADERS;
    const { traceparent, tracestate } = context;
    return { traceparent, ...(tracestate !== undefined && { tracestate }) };
  }
}

const NO_HEADERS: Readonly<Record<string, string>> = {};

/** A later version may say more behind the flags, which is left out then, as the specification asks. */
const TRACEPARENT =
  /^(?!ff)([\da-f]{2})-((?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2})(-.*)?$/;

/** `undefined` for what is no `traceparent`. */
function contextOf({ traceparent, tracestate }: IncomingHttpHeaders): TraceContext | undefined {
  if (typeof traceparent !== 'string' || traceparent.length > MAX_STATE_LENGTH) return undefined;
  const [, version, ids, more] = TRACEPARENT.exec(traceparent.trim()) ?? [];
  if (ids === undefined || (version === '00' && more !== undefined)) return undefined;
  const state = [tracestate ?? []].flat().join(',');
  const isSane = state !== '' && state.length <= MAX_STATE_LENGTH && /^[\x20-\x7e]+$/.test(state);
  return { traceparent: `00-${ids}`, tracestate: isSane ? state : undefined };
}
