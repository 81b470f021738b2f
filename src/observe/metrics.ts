import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Seconds; the ends are a held manifest and the header deadline of containerd. */
const LATENCY_BUCKETS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30];

/**
 * Every metric of the process, declared in one place. Labels are bounded by the configuration:
 * never a repository, a tag, a digest or a client's address.
 */
export class Metrics {
  readonly registry = new Registry();

  readonly cacheRequests = this.#counter(
    'entrepot_cache_requests_total',
    'Requests for content by how the cache answered them',
    ['upstream', 'kind', 'result'],
  );
  readonly httpRequests = this.#counter(
    'entrepot_http_requests_total',
    'Requests answered on the public listener',
    ['kind', 'method', 'code'],
  );
  readonly httpRequestSeconds = this.#histogram(
    'entrepot_http_request_duration_seconds',
    'Time to the first byte of the answer',
    ['kind', 'result'],
  );
  readonly httpResponseBytes = this.#counter(
    'entrepot_http_response_bytes_total',
    'Content bytes sent to clients',
    ['kind', 'result'],
  );
  readonly upstreamRequests = this.#counter(
    'entrepot_upstream_requests_total',
    'Requests to upstreams, each attempt once, by final status or "error"',
    ['upstream', 'kind', 'code'],
  );
  readonly upstreamRequestSeconds = this.#histogram(
    'entrepot_upstream_request_duration_seconds',
    "Time to the upstream's response headers",
    ['upstream', 'kind'],
  );
  readonly upstreamBytes = this.#counter(
    'entrepot_upstream_bytes_total',
    'Content bytes received from upstreams',
    ['upstream'],
  );
  readonly upstreamUp = this.#gauge(
    'entrepot_upstream_up',
    'Whether the upstream answers: 0 from the third failure in a row to the next answer; absent before the first answer',
    ['upstream'],
  );
  readonly upstreamRefusedAccounts = this.#gauge(
    'entrepot_upstream_refused_accounts',
    'Accounts whose login the upstream refuses, as of the last request of each',
    ['upstream'],
  );
  readonly rateLimitLimit = this.#gauge(
    'entrepot_upstream_ratelimit_limit',
    'Requests that the upstream allows in a window',
    ['upstream'],
  );
  readonly rateLimitRemaining = this.#gauge(
    'entrepot_upstream_ratelimit_remaining',
    'Requests left in the window, as last told by the upstream',
    ['upstream'],
  );
  readonly rateLimitWindowSeconds = this.#gauge(
    'entrepot_upstream_ratelimit_window_seconds',
    'Length of the window',
    ['upstream'],
  );
  readonly rateLimitEmptySeconds = this.#gauge(
    'entrepot_upstream_ratelimit_empty_seconds',
    'When nothing is left, at the rate of the last hour; absent while nothing is used',
    ['upstream'],
  );
  readonly downloadsInFlight = this.#gauge(
    'entrepot_downloads_in_flight',
    'Blob transfers from the upstream, running or waiting for their turn',
    ['upstream'],
  );
  readonly downloadResumes = this.#counter(
    'entrepot_download_resumes_total',
    'Transfers that went on after a break',
    ['upstream'],
  );
  readonly integrityFailures = this.#counter(
    'entrepot_integrity_failures_total',
    'Contents that were not what their digest says',
    ['upstream', 'where'],
  );
  readonly storeBytes = this.#gauge(
    'entrepot_store_bytes',
    'Bytes of the store: used by held blobs, partial, quarantined, other (catalog, journal), reserved for running downloads',
    ['state'],
  );
  readonly storeBlobs = this.#gauge('entrepot_store_blobs', 'Held blobs', []);
  readonly evictedBytes = this.#counter(
    'entrepot_evicted_bytes_total',
    'Bytes of evicted images, by what they were needed for: budget, free-space or request',
    ['reason'],
  );
  readonly storeLimitBytes = this.#gauge(
    'entrepot_store_limit_bytes',
    'The configured size of the store',
    [],
  );

  readonly syncImages = this.#gauge(
    'entrepot_sync_images',
    'Images that the site must hold, by readiness',
    ['state'],
  );
  readonly syncLastSuccess = this.#gauge(
    'entrepot_sync_last_success_timestamp_seconds',
    'End of the last run without a failure',
    [],
  );
  readonly syncLastRunBytes = this.#gauge(
    'entrepot_sync_last_run_bytes',
    'Bytes that the last run fetched',
    [],
  );
  readonly syncLastRunSeconds = this.#gauge(
    'entrepot_sync_last_run_duration_seconds',
    'How long the last run took',
    [],
  );
  readonly syncFailures = this.#counter(
    'entrepot_sync_failures_total',
    'Images and rules that runs could not bring to their end',
    [],
  );

  #counter<Label extends string>(name: string, help: string, labelNames: Label[]): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  #gauge<Label extends string>(name: string, help: string, labelNames: Label[]): Gauge<Label> {
    return new Gauge({ name, help, labelNames, registers: [this.registry] });
  }

  #histogram<Label extends string>(
    name: string,
    help: string,
    labelNames: Label[],
  ): Histogram<Label> {
    return new Histogram({
      name,
      help,
      labelNames,
      buckets: LATENCY_BUCKETS,
      registers: [this.registry],
    });
  }
}
