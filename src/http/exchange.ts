import type { Source } from '../mirror/answer.ts';
import type { Target } from '../oci/reference.ts';

export type ExchangeKind =
  'manifest' | 'blob' | 'tags' | 'referrers' | 'catalog' | 'ping' | 'other';

/** What the handlers note of a request for the access log and the metrics, written in one place. */
export interface Exchange {
  /** On the clock of `performance.now()`. */
  readonly startedAt: number;
  kind: ExchangeKind;
  /** The upstream meant; set with `target`, and alone where there is no repository. */
  upstream?: string;
  target?: Target;
  /** Tag or digest. */
  reference?: string;
  source?: Source;
  /** Content bytes sent. */
  bytes: number;
  /** When the headers went out, where the body takes its time. */
  answeredAt?: number;
  error?: unknown;
}

/** The state of a Koa context in this application. */
export interface State {
  exchange: Exchange;
}
