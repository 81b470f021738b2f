import { collectDefaultMetrics, Registry } from 'prom-client';
import { AdmissionMetrics } from './admission-metrics.ts';
import { AccessMetrics } from './access-metrics.ts';
import { BundleMetrics } from './bundle-metrics.ts';
import {
  ANY,
  CACHE_RESULTS,
  CONTENT_KINDS,
  Declarations,
  METHODS,
  MISS_REASONS,
  PURPOSES,
  REQUEST_KINDS,
  REQUEST_RESULTS,
} from './declarations.ts';
import { StoreMetrics } from './store-metrics.ts';
import { SyncMetrics } from './sync-metrics.ts';

/** Seconds; the ends are a held manifest and the header deadline of containerd. */
const LATENCY_BUCKETS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30];
/** Seconds of a transfer, or of the wait for its turn. */
const TRANSFER_BUCKETS = [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600];

/** Of `REQUEST_RESULTS` those for which nothing more was asked of the upstream than whether it still holds. */
const HITS: readonly string[] = ['hit', 'stale', 'revalidated', 'joined'];

/** Of `REQUEST_RESULTS` those that no content was asked of the cache for. */
const UNCOUNTED: readonly string[] = ['negative', 'refused'];

/** Of the process, which has one of each, however many mirrors are in it. */
let ofProcess: Registry | undefined;

/**
 * Every metric, declared in one place: those of pulls and upstreams here, those of store and sync
 * beside. Labels are bounded by the program and its configuration: never a repository, a tag, a
 * digest, a user or a client's address.
 */
export class Metrics extends Declarations {
  readonly store;
  readonly sync;
  readonly bundles;
  readonly access;
  readonly admission;
  /** What was counted so far; `expose` measures the rest before. */
  readonly registry;
  readonly #measures: (() => Promise<void> | void)[] = [];
  #isOfProcess = false;

  readonly buildInfo = this.gauge(
    'entrepot_build_info',
    'Always 1: the version of the program and of the Node that runs it',
    { version: ANY, node: ANY },
  );
  readonly ready = this.gauge('entrepot_ready', 'Whether /readyz says that the mirror serves');
  readonly reloadOk = this.gauge(
    'entrepot_config_last_reload_successful',
    'Whether the configuration was taken when it was last read, at the start or by a reload',
  );
  readonly reloadedAt = this.gauge(
    'entrepot_config_last_reload_success_timestamp_seconds',
    'When the configuration that is in force was read',
  );
  readonly certificateExpiry = this.gauge(
    'entrepot_certificate_expiry_timestamp_seconds',
    'When the first certificate ends of those that the configuration names: client (shown to the upstream), authority (that the upstream is checked by)',
    { upstream: ANY, kind: ['client', 'authority'] },
  );

  readonly cacheRequests = this.counter(
    'entrepot_cache_requests_total',
    'Requests for content by how the cache answered them',
    { upstream: ANY, kind: REQUEST_KINDS, method: [...METHODS, 'other'], result: REQUEST_RESULTS },
  );
  readonly cacheMisses = this.counter(
    'entrepot_cache_misses_total',
    'Answers whose result is miss or bypass, by why',
    { upstream: ANY, kind: REQUEST_KINDS, reason: MISS_REASONS },
  );
  readonly httpRequests = this.counter(
    'entrepot_http_requests_total',
    'Requests answered on the public listener',
    { kind: REQUEST_KINDS, method: [...METHODS, 'other'], code: ANY },
  );
  readonly httpRequestSeconds = this.histogram(
    'entrepot_http_request_duration_seconds',
    'Time to the first byte of the answer',
    { labels: { kind: REQUEST_KINDS, result: REQUEST_RESULTS }, buckets: LATENCY_BUCKETS },
  );
  readonly spansLost = this.counter(
    'entrepot_trace_spans_lost_total',
    'Spans that the collector did not take, or for which there was no room',
  );
  readonly httpResponseBytes = this.counter(
    'entrepot_http_response_bytes_total',
    'Content bytes sent to clients',
    { upstream: ANY, kind: REQUEST_KINDS, result: CACHE_RESULTS },
  );

  readonly upstreamRequests = this.counter(
    'entrepot_upstream_requests_total',
    'Requests to upstreams, each attempt once, by final status or "error"; Docker Hub counts GETs of manifests',
    { upstream: ANY, kind: CONTENT_KINDS, method: METHODS, purpose: PURPOSES, code: ANY },
  );
  readonly upstreamRequestSeconds = this.histogram(
    'entrepot_upstream_request_duration_seconds',
    "Time to the upstream's response headers",
    {
      labels: { upstream: ANY, kind: CONTENT_KINDS, method: METHODS, purpose: PURPOSES },
      buckets: LATENCY_BUCKETS,
    },
  );
  readonly upstreamBytes = this.counter(
    'entrepot_upstream_bytes_total',
    'Content bytes received from upstreams',
    { upstream: ANY, kind: CONTENT_KINDS, purpose: PURPOSES },
  );
  readonly tokenRequests = this.counter(
    'entrepot_upstream_token_requests_total',
    'Tokens asked for at the token service of the upstream, by whether one was given',
    { upstream: ANY, result: ['ok', 'failed'] },
  );
  readonly credentialExpiry = this.gauge(
    'entrepot_upstream_credential_expiry_timestamp_seconds',
    'When the first credential ends of those that were issued for the upstream; renewed before, where the issuer answers',
    { upstream: ANY },
  );
  readonly upstreamUp = this.gauge(
    'entrepot_upstream_up',
    'Whether the upstream answers: 0 from the third failure in a row to the next answer; absent before the first answer',
    { upstream: ANY },
  );
  readonly upstreamRefusedAccounts = this.gauge(
    'entrepot_upstream_refused_accounts',
    'Accounts whose login the upstream refuses, as of the last request of each',
    { upstream: ANY },
  );
  readonly rateLimitLimit = this.gauge(
    'entrepot_upstream_ratelimit_limit',
    'Requests that the upstream allows in a window',
    { upstream: ANY },
  );
  readonly rateLimitRemaining = this.gauge(
    'entrepot_upstream_ratelimit_remaining',
    'Requests left in the window, as last told by the upstream',
    { upstream: ANY },
  );
  readonly rateLimitWindowSeconds = this.gauge(
    'entrepot_upstream_ratelimit_window_seconds',
    'Length of the window',
    { upstream: ANY },
  );
  readonly rateLimitEmptySeconds = this.gauge(
    'entrepot_upstream_ratelimit_empty_seconds',
    'When nothing is left, at the rate of the last hour; absent while nothing is used',
    { upstream: ANY },
  );

  readonly downloadsInFlight = this.gauge(
    'entrepot_downloads_in_flight',
    'Blob transfers from the upstream, running or waiting for their turn',
    { upstream: ANY },
  );
  readonly downloads = this.counter(
    'entrepot_downloads_total',
    'Blob transfers that ended: kept, passed (to clients alone, since the store did not take it), absent or failed',
    { upstream: ANY, result: ['kept', 'passed', 'absent', 'failed'] },
  );
  readonly downloadBytes = this.counter(
    'entrepot_download_bytes_total',
    'Sizes of the blobs that transfers brought whole, each once: kept, or passed to clients alone',
    { upstream: ANY, result: ['kept', 'passed'] },
  );
  readonly downloadSeconds = this.histogram(
    'entrepot_download_duration_seconds',
    'How long the blob transfers took that brought a whole blob, with the wait for their turn',
    { labels: { upstream: ANY }, buckets: TRANSFER_BUCKETS },
  );
  readonly downloadResumes = this.counter(
    'entrepot_download_resumes_total',
    'Transfers that went on after a break',
    { upstream: ANY },
  );
  readonly queueWaiting = this.gauge(
    'entrepot_transfer_queue_waiting',
    'Blob transfers that wait for their turn',
    { upstream: ANY },
  );
  readonly queueWaitSeconds = this.histogram(
    'entrepot_transfer_queue_wait_seconds',
    'How long blob transfers waited for their turn',
    { labels: { upstream: ANY }, buckets: TRANSFER_BUCKETS },
  );
  readonly tagsMoved = this.counter(
    'entrepot_tags_moved_total',
    'Held tags that the upstream said to mean another manifest now',
    { upstream: ANY },
  );
  readonly tagsGone = this.counter(
    'entrepot_tags_gone_total',
    'Held tags that the upstream said to have no more',
    { upstream: ANY },
  );
  readonly integrityFailures = this.counter(
    'entrepot_integrity_failures_total',
    'Contents that were not what their digest says',
    { upstream: ANY, where: ['manifest', 'download', 'store', 'scrub'] },
  );

  /** What the scrub tells: a blob that was read, and one that was found wrong. */
  readonly ofScrub = {
    read: (bytes: number): void => this.store.read(bytes),
    found: ({ fault, healed }: { readonly fault: string; readonly healed: boolean }): void => {
      this.integrityFailures.inc({ upstream: '', where: 'scrub' });
      this.store.scrubFindings.inc({ fault, result: healed ? 'healed' : 'open' });
    },
  };

  constructor(registry = new Registry()) {
    super(registry);
    this.registry = registry;
    this.store = new StoreMetrics(registry, this.labels);
    this.sync = new SyncMetrics(registry, this.labels);
    this.bundles = new BundleMetrics(registry, this.labels);
    this.access = new AccessMetrics(registry, this.labels);
    this.admission = new AdmissionMetrics(registry, this.labels);
  }

  /**
   * Counters of these upstreams are exported with 0 before the first count: so many series each as
   * the sets below have, and no more.
   */
  startAt(upstreams: readonly string[]): void {
    const upstream = upstreams;
    const content = ['manifest', 'blob'];
    this.start(this.cacheRequests, {
      upstream,
      kind: content,
      method: METHODS,
      result: REQUEST_RESULTS,
    });
    this.start(this.cacheMisses, { upstream, kind: content, reason: MISS_REASONS });
    this.start(this.httpRequests, {
      kind: content,
      method: METHODS,
      code: ['200', '404', '429', '502'],
    });
    this.start(this.httpResponseBytes, { upstream, kind: content, result: CACHE_RESULTS });
    this.start(this.httpRequestSeconds, { kind: content, result: ['hit', 'miss'] });
    const asked = { upstream, kind: content, method: METHODS, purpose: PURPOSES };
    this.start(this.upstreamRequests, { ...asked, code: ['200', '429', 'error'] });
    const client = { ...asked, method: ['GET'], purpose: ['client'] };
    this.start(this.upstreamRequestSeconds, client);
    this.start(this.upstreamBytes, { upstream, kind: content, purpose: PURPOSES });
    this.start(this.tokenRequests, { upstream, result: ['ok', 'failed'] });
    this.start(this.downloads, { upstream, result: ['kept', 'passed', 'absent', 'failed'] });
    this.start(this.downloadBytes, { upstream, result: ['kept', 'passed'] });
    for (const metric of [
      this.downloadsInFlight,
      this.downloadSeconds,
      this.downloadResumes,
      this.queueWaiting,
      this.queueWaitSeconds,
      this.tagsMoved,
      this.tagsGone,
    ]) {
      this.start(metric, { upstream });
    }
    this.start(this.integrityFailures, { upstream, where: ['manifest', 'download', 'store'] });
    this.start(this.integrityFailures, { upstream: [''], where: ['scrub'] });
  }

  /** Gauges of upstreams as they are configured: whoever is asked for them sets them anew. */
  clearUpstreams(): void {
    for (const gauge of [
      this.upstreamUp,
      this.upstreamRefusedAccounts,
      this.credentialExpiry,
      this.certificateExpiry,
      this.rateLimitLimit,
      this.rateLimitRemaining,
      this.rateLimitWindowSeconds,
      this.rateLimitEmptySeconds,
    ]) {
      gauge.reset();
    }
  }

  /** What is measured at each scrape, and must be cheap. */
  measure(measure: () => Promise<void> | void): void {
    this.#measures.push(measure);
  }

  /** For a process that serves: descriptors, memory and the delay of the event loop are its own. */
  addProcess(program: { readonly version: string; readonly node: string }): void {
    this.buildInfo.set(program, 1);
    this.reloadOk.set(1);
    this.reloadedAt.setToCurrentTime();
    this.#isOfProcess = true;
    if (ofProcess) return;
    ofProcess = new Registry();
    collectDefaultMetrics({ register: ofProcess });
    // They walk all that is open at each scrape, and half of them are gauges named as counters.
    for (const what of ['handles', 'requests', 'resources']) {
      ofProcess.removeSingleMetric(`nodejs_active_${what}`);
      ofProcess.removeSingleMetric(`nodejs_active_${what}_total`);
    }
  }

  /** What was counted of requests for content so far, as the recorded hit ratio counts it. */
  async countHits(): Promise<{ requests: number; hits: number }> {
    const { values } = await this.cacheRequests.get();
    const sum = (results: readonly string[]): number =>
      values
        .filter(({ labels }) => results.includes(String(labels.result)))
        .reduce((total, { value }) => total + value, 0);
    const asked = REQUEST_RESULTS.filter((result) => !UNCOUNTED.includes(result));
    return { requests: sum(asked), hits: sum(HITS) };
  }

  /** An exposition. */
  async expose(): Promise<string> {
    await Promise.all(this.#measures.map(async (measure) => measure()));
    const own = await this.registry.metrics();
    return this.#isOfProcess && ofProcess ? `${own}\n${await ofProcess.metrics()}` : own;
  }
}
