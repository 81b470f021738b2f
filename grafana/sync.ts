import type { Page } from './dashboard.ts';

const HERE = '{instance=~"$instance"}';

/** What breaks if the cable is cut now. */
export const SYNC: Page = {
  uid: 'entrepot-sync',
  title: 'Entrepot / Sync and readiness',
  description: 'What a site must hold, what of it is there, and how the runs went.',
  rows: [
    {
      title: 'What breaks if the cable is cut now?',
      panels: [
        {
          title: 'Not ready',
          description:
            'Images that the site must hold and that would not serve as wanted without the link: partial (bytes are missing), stale (older than the rule allows), unresolved (the upstream could not say what they are). `entrepot sync status` names them.',
          shape: 'value',
          width: 5,
          unit: 'short',
          empty: 'No sync rules',
          colours: [
            [null, 'green'],
            [1, 'red'],
          ],
          queries: [
            {
              expr: `sum(entrepot_sync_images{state!="ready",instance=~"$instance"})`,
              legend: 'images',
            },
          ],
        },
        {
          title: 'Ready',
          description: 'Images that the site must hold and that are whole and young enough.',
          shape: 'value',
          width: 4,
          unit: 'short',
          empty: 'No sync rules',
          queries: [
            {
              expr: `sum(entrepot_sync_images{state="ready",instance=~"$instance"})`,
              legend: 'images',
            },
          ],
        },
        {
          title: 'Missing',
          description:
            'Bytes that the site must hold and does not, as far as is known: an unresolved image has no size.',
          shape: 'value',
          width: 5,
          unit: 'bytes',
          empty: 'No sync rules',
          colours: [
            [null, 'green'],
            [1, 'orange'],
          ],
          queries: [{ expr: `sum(entrepot_sync_missing_bytes${HERE})`, legend: 'bytes' }],
        },
        {
          title: 'Kept although gone',
          description:
            'Images that are kept although their tag at the upstream moved, or was deleted: they can be had from nowhere else.',
          shape: 'value',
          width: 5,
          unit: 'short',
          empty: 'No sync rules',
          queries: [{ expr: `sum by (why) (entrepot_sync_kept_images${HERE})`, legend: '{{why}}' }],
        },
        {
          title: 'Away',
          description:
            'Upstreams that do not answer now: of these only what is held is to be had. One that was never asked is not shown.',
          shape: 'value',
          unit: 'none',
          empty: 'All that were asked answer',
          width: 5,
          words: { 0: 'down' },
          colours: [[null, 'red']],
          queries: [
            {
              expr: `min by (upstream) (entrepot_upstream_up${HERE}) == 0`,
              legend: '{{upstream}}',
            },
          ],
        },
        {
          title: 'Readiness',
          description: 'Images that the site must hold, by state.',
          shape: 'chart',
          width: 24,
          unit: 'short',
          empty: 'No sync rules',
          isStacked: true,
          min: 0,
          queries: [{ expr: `sum by (state) (entrepot_sync_images${HERE})`, legend: '{{state}}' }],
        },
      ],
    },
    {
      title: 'Runs',
      panels: [
        {
          title: 'Last run',
          description: 'Whether the last run ended without a failure.',
          shape: 'value',
          unit: 'none',
          empty: 'No run yet',
          words: { 0: 'failed', 1: 'ok' },
          colours: [
            [null, 'red'],
            [1, 'green'],
          ],
          queries: [{ expr: `entrepot_sync_last_run_successful${HERE}`, legend: '{{instance}}' }],
        },
        {
          title: 'Last success',
          description: 'When a run last ended without a failure.',
          shape: 'value',
          unit: 's',
          empty: 'None yet',
          queries: [
            {
              expr: `time() - entrepot_sync_last_success_timestamp_seconds${HERE}`,
              legend: '{{instance}} ago',
            },
          ],
        },
        {
          title: 'Next run',
          description: 'In how long the next run is due.',
          shape: 'value',
          unit: 's',
          empty: 'None is due',
          queries: [
            {
              expr: `entrepot_sync_next_run_timestamp_seconds${HERE} - time()`,
              legend: '{{instance}}',
            },
          ],
        },
        {
          title: 'Last run took',
          description: 'How long the last run took.',
          shape: 'value',
          unit: 's',
          empty: 'No run yet',
          queries: [
            {
              expr: `entrepot_sync_last_run_duration_seconds${HERE}`,
              legend: '{{instance}}',
            },
          ],
        },
        {
          title: 'Runs by result',
          description: 'Runs that ended in the hour before each moment.',
          shape: 'chart',
          unit: 'short',
          empty: 'No run yet',
          isStacked: true,
          min: 0,
          queries: [
            {
              expr: `round(sum by (result) (increase(entrepot_sync_runs_total${HERE}[1h])))`,
              legend: '{{result}}',
            },
          ],
        },
        {
          title: 'Failures',
          description:
            'Images and rules that runs could not bring to their end, in the hour before each moment. `entrepot sync status` names the last ones.',
          shape: 'chart',
          unit: 'short',
          empty: 'No run yet',
          min: 0,
          queries: [
            {
              expr: `round(sum by (instance) (increase(entrepot_sync_failures_total${HERE}[1h])))`,
              legend: '{{instance}}',
            },
          ],
        },
        {
          title: 'Fetched by the last run',
          description: 'Bytes that the last run of each mirror fetched.',
          shape: 'chart',
          unit: 'bytes',
          empty: 'No run yet',
          min: 0,
          queries: [{ expr: `entrepot_sync_last_run_bytes${HERE}`, legend: '{{instance}}' }],
        },
        {
          title: 'Bytes for sync',
          description: 'Bytes a second that upstreams send for sync, of all that they send.',
          shape: 'chart',
          unit: 'Bps',
          empty: 'Nothing was fetched',
          min: 0,
          queries: [
            {
              expr: `sum by (upstream) (rate(entrepot_upstream_bytes_total{purpose="sync",instance=~"$instance"}[$__rate_interval])) > 0`,
              legend: '{{upstream}}',
            },
          ],
        },
      ],
    },
    {
      title: 'Bundles',
      panels: [
        {
          title: 'Last bundle',
          description:
            'When a bundle was last put in force. `entrepot bundle status` names the parts that are awaited.',
          shape: 'value',
          width: 4,
          unit: 's',
          empty: 'No bundle yet',
          queries: [
            {
              expr: `time() - entrepot_bundle_applied_timestamp_seconds${HERE}`,
              legend: '{{instance}} ago',
            },
          ],
        },
        {
          title: 'Parts of bundles',
          description:
            'Parts that were imported in the hour before each moment: applied (all of the bundle is in force), awaited (others are missing) or refused. The log says why one was refused.',
          shape: 'chart',
          width: 10,
          unit: 'short',
          empty: 'No part was imported',
          isStacked: true,
          min: 0,
          queries: [
            {
              expr: `round(sum by (result) (increase(entrepot_bundle_parts_total${HERE}[1h])))`,
              legend: '{{result}}',
            },
          ],
        },
        {
          title: 'Bytes from bundles',
          description: 'Bytes of content a second that were read from bundles and found right.',
          shape: 'chart',
          width: 10,
          unit: 'Bps',
          empty: 'No part was imported',
          min: 0,
          queries: [
            {
              expr: `sum by (instance) (rate(entrepot_bundle_bytes_total${HERE}[$__rate_interval]))`,
              legend: '{{instance}}',
            },
          ],
        },
      ],
    },
  ],
};
