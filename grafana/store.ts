import type { Page } from './dashboard.ts';

const HERE = '{instance=~"$instance"}';

/** What is held, what went and why, and whether it is sound. */
export const STORE: Page = {
  uid: 'entrepot-store',
  title: 'Entrepot / Store',
  description: 'What is held, what was evicted and why, and whether what is held is sound.',
  rows: [
    {
      title: 'What is held',
      panels: [
        {
          title: 'Images',
          description: 'Held images and parts of images that are evicted as one.',
          shape: 'value',
          unit: 'short',
          empty: 'No mirror is scraped',
          queries: [{ expr: `sum(entrepot_store_images${HERE})`, legend: 'images' }],
        },
        {
          title: 'Blobs',
          description: 'Held blobs: layers, configurations and manifests, each digest once.',
          shape: 'value',
          unit: 'short',
          empty: 'No mirror is scraped',
          queries: [{ expr: `sum(entrepot_store_blobs${HERE})`, legend: 'blobs' }],
        },
        {
          title: 'Pins',
          description:
            'What is never evicted, by who said so: by hand, the configuration, a list of images in use, sync. `entrepot pins` lists them.',
          shape: 'value',
          unit: 'short',
          empty: 'Nothing is pinned',
          width: 12,
          queries: [{ expr: `sum by (origin) (entrepot_store_pins${HERE})`, legend: '{{origin}}' }],
        },
        {
          title: 'Bytes by state',
          description:
            'Bytes below `store.path`: used by what is held, partial downloads, quarantined (found damaged), other (catalog, journal), reserved for what is being fetched. Above the limit the oldest images go.',
          shape: 'chart',
          unit: 'bytes',
          empty: 'No mirror is scraped',
          min: 0,
          queries: [
            { expr: `sum by (state) (entrepot_store_bytes${HERE})`, legend: '{{state}}' },
            { expr: `sum(entrepot_store_limit_bytes${HERE})`, legend: 'limit' },
          ],
        },
        {
          title: 'Free on the disk',
          description:
            'What is free on the disk of each store, and what the configuration leaves free.',
          shape: 'chart',
          unit: 'bytes',
          empty: 'The disk does not say',
          min: 0,
          queries: [
            { expr: `entrepot_store_free_bytes${HERE}`, legend: '{{instance}} free' },
            { expr: `entrepot_store_min_free_bytes${HERE}`, legend: '{{instance}} to leave' },
          ],
        },
      ],
    },
    {
      title: 'What went, and what was not kept',
      panels: [
        {
          title: 'Evicted bytes',
          description:
            'Bytes a second, by what the room was needed for: the budget (`store.maxBytes`), the disk (`store.minFreeBytes`), or a request (`entrepot gc`).',
          shape: 'chart',
          unit: 'Bps',
          empty: 'Nothing was evicted',
          isStacked: true,
          min: 0,
          queries: [
            {
              expr: `sum by (reason) (rate(entrepot_evicted_bytes_total${HERE}[$__rate_interval]))`,
              legend: '{{reason}}',
            },
          ],
        },
        {
          title: 'Evicted images',
          description: 'Images in the hour before each moment, by the same reasons.',
          shape: 'chart',
          unit: 'short',
          empty: 'Nothing was evicted',
          isStacked: true,
          min: 0,
          queries: [
            {
              expr: `round(sum by (reason) (increase(entrepot_evicted_images_total${HERE}[1h])))`,
              legend: '{{reason}}',
            },
          ],
        },
        {
          title: 'Wanted again after eviction',
          description:
            'Of the requests of the hour before each moment, those for something that had been evicted. More than a few of 100: the store is too small.',
          shape: 'chart',
          unit: 'percentunit',
          empty: 'Nothing was asked for',
          min: 0,
          max: 1,
          queries: [
            {
              expr: `sum(increase(entrepot_cache_misses_total{reason="evicted",instance=~"$instance"}[1h])) / (sum(increase(entrepot_cache_requests_total${HERE}[1h])) > 0)`,
              legend: 'evicted',
            },
          ],
        },
        {
          title: 'Transfers by end',
          description:
            'Blob transfers in the hour before each moment: kept, passed (to clients alone, since the store did not take them), absent, failed.',
          shape: 'chart',
          unit: 'short',
          empty: 'Nothing was fetched',
          isStacked: true,
          min: 0,
          queries: [
            {
              expr: `round(sum by (result) (increase(entrepot_downloads_total${HERE}[1h])))`,
              legend: '{{result}}',
            },
          ],
        },
        {
          title: 'Transfers under way',
          description:
            'Blob transfers that wait for their turn, and that run or wait, by upstream.',
          shape: 'chart',
          unit: 'short',
          empty: 'Nothing is fetched',
          min: 0,
          queries: [
            {
              expr: `sum by (upstream) (entrepot_transfer_queue_waiting${HERE}) > 0`,
              legend: '{{upstream}} waiting',
            },
            {
              expr: `sum by (upstream) (entrepot_downloads_in_flight${HERE}) > 0`,
              legend: '{{upstream}} all',
            },
          ],
        },
        {
          title: 'How long transfers take',
          description:
            'Seconds, 95 of 100 in the hour before each moment: the wait for a turn, and the whole with it.',
          shape: 'chart',
          unit: 's',
          empty: 'Nothing was fetched',
          min: 0,
          queries: [
            {
              expr: `histogram_quantile(0.95, sum by (upstream, le) (increase(entrepot_transfer_queue_wait_seconds_bucket${HERE}[1h]))) >= 0`,
              legend: '{{upstream}} wait',
            },
            {
              expr: `histogram_quantile(0.95, sum by (upstream, le) (increase(entrepot_download_duration_seconds_bucket${HERE}[1h]))) >= 0`,
              legend: '{{upstream}} whole',
            },
          ],
        },
      ],
    },
    {
      title: 'Is it sound?',
      panels: [
        {
          title: 'Found damaged',
          description:
            'Held blobs that were found wrong in the time shown: healed (fetched anew) or open (nobody has them). `entrepot verify` reads all and names them.',
          shape: 'value',
          unit: 'short',
          empty: 'No mirror is scraped',
          width: 8,
          colours: [
            [null, 'green'],
            [0.5, 'orange'],
          ],
          queries: [
            {
              expr: `round(sum by (result) (increase(entrepot_scrub_findings_total${HERE}[$__range])))`,
              legend: '{{result}}',
            },
          ],
        },
        {
          title: 'Last verified',
          description: 'How long ago all that is held was last read and compared with its digest.',
          shape: 'value',
          unit: 's',
          empty: 'Not yet',
          width: 8,
          queries: [
            {
              expr: `time() - entrepot_verify_last_end_timestamp_seconds${HERE}`,
              legend: '{{instance}} ago',
            },
          ],
        },
        {
          title: 'Quarantined',
          description: 'Bytes of damaged files that are kept aside for a while.',
          shape: 'value',
          unit: 'bytes',
          empty: 'No mirror is scraped',
          width: 8,
          queries: [
            {
              expr: `sum(entrepot_store_bytes{state="quarantined",instance=~"$instance"})`,
              legend: 'quarantined',
            },
          ],
        },
        {
          title: 'Scrub',
          description:
            'Held bytes a second that are read in the background to be compared with their digest.',
          shape: 'chart',
          unit: 'Bps',
          empty: 'Nothing was read',
          min: 0,
          queries: [
            {
              expr: `sum by (instance) (rate(entrepot_scrub_bytes_total${HERE}[$__rate_interval]))`,
              legend: '{{instance}}',
            },
          ],
        },
        {
          title: 'Wrong bytes',
          description:
            'Contents that were not what their digest says, in the hour before each moment, by where they came from. No client completes one.',
          shape: 'chart',
          unit: 'short',
          empty: 'None',
          min: 0,
          queries: [
            {
              expr: `round(sum by (upstream, where) (increase(entrepot_integrity_failures_total${HERE}[1h]))) > 0`,
              legend: '{{upstream}} {{where}}',
            },
          ],
        },
        {
          title: 'Tags that moved or went',
          description:
            'Held tags that an upstream said to mean another image now, or to have no more, in the hour before each moment. The log names them.',
          shape: 'chart',
          unit: 'short',
          empty: 'None',
          min: 0,
          queries: [
            {
              expr: `round(sum by (upstream) (increase(entrepot_tags_moved_total${HERE}[1h]))) > 0`,
              legend: '{{upstream}} moved',
            },
            {
              expr: `round(sum by (upstream) (increase(entrepot_tags_gone_total${HERE}[1h]))) > 0`,
              legend: '{{upstream}} gone',
            },
          ],
        },
      ],
    },
  ],
};
