import { Declarations } from './declarations.ts';

/** What came to a site in bundles. */
export class BundleMetrics extends Declarations {
  readonly imported = this.counter(
    'entrepot_bundle_parts_total',
    'Parts of bundles that were imported: applied (all of the bundle is in force), awaited (others are missing) or refused',
    { result: ['applied', 'awaited', 'refused'] },
  );
  readonly bytes = this.counter(
    'entrepot_bundle_bytes_total',
    'Bytes of content that were read from bundles and found right',
  );
  readonly appliedAt = this.gauge(
    'entrepot_bundle_applied_timestamp_seconds',
    'When the last bundle was put in force; absent where none ever was',
  );

  constructor(...parts: ConstructorParameters<typeof Declarations>) {
    super(...parts);
    this.start(this.imported, { result: ['applied', 'awaited', 'refused'] });
  }
}
