import {
  createTraceState,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  type Span,
  type SpanContext,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import {
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  TracerProvider,
  type ReadableSpan,
  type SpanExporter,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace';
import type { SpanAttributes, OpenSpan, TraceContext, Tracer, SpanKind as Kind } from './traces.ts';

export interface OtlpTracerParts {
  /** That takes OTLP over HTTP. */
  readonly url: string;
  readonly version: string;
  /** Spans that no collector will have. */
  readonly lost: (count: number) => void;
}

/** Spans that wait; each takes some KiB. What finds no room is lost. */
const MAX_WAITING = 2048;
const BATCH = 256;
const DELAY_MS = 2_000;
/** Over all attempts of one batch; a process that stops waits so long at most for one under way. */
const EXPORT_MS = 2_000;
/** Of the end of the grace, for what still waits. */
const CLOSE_MS = 500;
/** `ExportResultCode` of a package below these. */
const SUCCESS = 0;
const LIMITS = { attributeCountLimit: 32, attributeValueLengthLimit: 512, linkCountLimit: 8 };
const KINDS: Readonly<Record<Kind, SpanKind>> = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  internal: SpanKind.INTERNAL,
};

/**
 * Spans by the OpenTelemetry libraries, which only this file knows, and which are loaded with it. A
 * client that says that its trace is not recorded is taken at its word. A collector that is slow or away
 * holds up nothing: what it does not take is lost, and counted. Its login, if it wants one, is
 * OTEL_EXPORTER_OTLP_HEADERS of the environment.
 */
export class OtlpTracer implements Tracer {
  readonly #provider: TracerProvider;
  readonly #queue: BoundedQueue;

  constructor({ url, version, lost }: OtlpTracerParts) {
    const exporter = new OTLPTraceExporter({ url, timeoutMillis: EXPORT_MS });
    this.#queue = new BoundedQueue(exporter, lost);
    const own = resourceFromAttributes({ 'service.name': 'entrepot', 'service.version': version });
    this.#provider = new TracerProvider({
      resource: defaultResource()
        .merge(own)
        .merge(detectResources({ detectors: [envDetector] })),
      sampler: new ParentBasedSampler({ root: new AlwaysOnSampler() }),
      spanLimits: LIMITS,
      spanProcessors: [this.#queue],
    });
  }

  start(name: string, kind: Kind, parent: TraceContext | undefined): OpenSpan {
    const context = parent ? trace.setSpanContext(ROOT_CONTEXT, contextOf(parent)) : ROOT_CONTEXT;
    const tracer = this.#provider.getTracer('entrepot');
    return new OtlpSpan(tracer.startSpan(name, { kind: KINDS[kind] }, context), parent);
  }

  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, CLOSE_MS);
    const closed = this.#provider.shutdown().catch(() => undefined);
    await Promise.race([closed, promise]);
    clearTimeout(timer);
    this.#queue.end();
  }
}

class OtlpSpan implements OpenSpan {
  readonly context: TraceContext;
  readonly #span: Span;

  constructor(span: Span, parent: TraceContext | undefined) {
    this.#span = span;
    const { traceId, spanId, traceFlags } = span.spanContext();
    const flags = traceFlags.toString(16).padStart(2, '0');
    this.context = {
      traceparent: `00-${traceId}-${spanId}-${flags}`,
      tracestate: parent?.tracestate,
    };
  }

  add(facts: SpanAttributes): void {
    this.#span.setAttributes(facts);
  }

  link(context: TraceContext): void {
    this.#span.addLink({ context: contextOf(context) });
  }

  end(name?: string, fault?: string): void {
    if (name !== undefined) this.#span.updateName(name);
    if (fault !== undefined) {
      this.#span.setStatus({ code: SpanStatusCode.ERROR, message: fault.slice(0, 512) });
    }
    this.#span.end();
  }
}

function contextOf({ traceparent, tracestate }: TraceContext): SpanContext {
  const [, traceId = '', spanId = '', flags = ''] = traceparent.split('-');
  return {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16) & 1,
    isRemote: true,
    ...(tracestate !== undefined && { traceState: createTraceState(tracestate) }),
  };
}

/** The batches of the library, with a count of what they lose. */
class BoundedQueue implements SpanProcessor {
  readonly #batches: BatchSpanProcessor;
  readonly #lost: (count: number) => void;
  /** Ended, and neither taken by the collector nor lost. */
  #waiting = 0;

  constructor(exporter: OTLPTraceExporter, lost: (count: number) => void) {
    this.#lost = lost;
    this.#batches = new BatchSpanProcessor({
      exporter: this.#counted(exporter),
      maxQueueSize: MAX_WAITING,
      maxExportBatchSize: BATCH,
      scheduledDelayMillis: DELAY_MS,
      exportTimeoutMillis: 2 * EXPORT_MS,
    });
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    if (this.#waiting >= MAX_WAITING) return this.#lost(1);
    this.#waiting += 1;
    this.#batches.onEnd(span);
  }

  async forceFlush(): Promise<void> {
    await this.#batches.forceFlush();
  }

  async shutdown(): Promise<void> {
    await this.#batches.shutdown();
  }

  /** What still waits is lost. */
  end(): void {
    if (this.#waiting > 0) this.#lost(this.#waiting);
    this.#waiting = 0;
  }

  #counted(exporter: OTLPTraceExporter): SpanExporter {
    return {
      export: (spans, done) => {
        exporter.export(spans, (result) => {
          const { code }: { code: number } = result;
          if (code !== SUCCESS) this.#lost(Math.min(spans.length, this.#waiting));
          this.#waiting = Math.max(0, this.#waiting - spans.length);
          done(result);
        });
      },
      shutdown: async () => exporter.shutdown(),
    };
  }
}
