import { Declarations } from './declarations.ts';

/** What a site must hold, how much of that is there, and how the runs ended. */
export class SyncMetrics extends Declarations {
  readonly images = this.gauge(
    'entrepot_sync_images',
    'Images that the site must hold, by readiness',
    { state: ['ready', 'partial', 'stale', 'unresolved'] },
  );
  readonly keptImages = this.gauge(
    'entrepot_sync_kept_images',
    'Images that are kept although the tag at the upstream has moved, or was deleted',
    { why: ['moved', 'deleted'] },
  );
  readonly missingBytes = this.gauge(
    'entrepot_sync_missing_bytes',
    'Bytes that the site must hold and does not',
  );
  readonly runs = this.counter('entrepot_sync_runs_total', 'Runs that ended, by result', {
    result: ['ok', 'failed', 'aborted'],
  });
  readonly lastSuccess = this.gauge(
    'entrepot_sync_last_success_timestamp_seconds',
    'End of the last run without a failure',
  );
  readonly lastRunOk = this.gauge(
    'entrepot_sync_last_run_successful',
    'Whether the last run ended without a failure',
  );
  readonly lastRunEnd = this.gauge(
    'entrepot_sync_last_run_timestamp_seconds',
    'End of the last run',
  );
  readonly lastRunBytes = this.gauge(
    'entrepot_sync_last_run_bytes',
    'Bytes that the last run fetched',
  );
  readonly lastRunSeconds = this.gauge(
    'entrepot_sync_last_run_duration_seconds',
    'How long the last run took',
  );
  readonly nextRun = this.gauge(
    'entrepot_sync_next_run_timestamp_seconds',
    'When the next run is due; absent where none is',
  );
  readonly failures = this.counter(
    'entrepot_sync_failures_total',
    'Images and rules that runs could not bring to their end',
  );

  constructor(...parts: ConstructorParameters<typeof Declarations>) {
    super(...parts);
    this.start(this.runs, { result: ['ok', 'failed', 'aborted'] });
  }
}
