import type { Page } from './dashboard.ts';

/** Answers that no transfer was begun for. */
const HIT = 'result=~"hit|stale|revalidated|joined"';
const ASKED = 'result!~"negative|refused",instance=~"$instance"';
const HERE = '{instance=~"$instance"}';

/** Is it up, what does it save, what is left of the quotas and of the disk. */
export const OVERVIEW: Page = {
  uid: 'entrepot-overview',
  title: 'Entrepot / Overview',
  description: 'Whether the mirrors serve, what they save, and what is left of quotas and disks.',
  rows: [
    {
      title: 'Is it up?',
      panels: [
        {
          title: 'Mirrors',
          description:
            'Whether each mirror says that it serves (/readyz); away: Prometheus cannot reach it. `entrepot status` on its machine says why it does not.',
          shape: 'value',
          unit: 'none',
          empty: 'No mirror is scraped',
          words: { '-1': 'away', 0: 'not ready', 1: 'ready' },
          colours: [
            [null, 'red'],
            [1, 'green'],
          ],
          queries: [
            {
              expr: `max by (instance) (entrepot_ready${HERE} or on (instance) (up{job="entrepot",instance=~"$instance"} == 0) - 1)`,
              legend: '{{instance}}',
            },
          ],
        },
        {
          title: 'Upstreams',
          description:
            'Whether each upstream answers. What is held is served while one is down. One that was never asked is not shown.',
          shape: 'value',
          unit: 'none',
          empty: 'None was asked yet',
          width: 9,
          words: { 0: 'down', 1: 'answers' },
          colours: [
            [null, 'red'],
            [1, 'green'],
          ],
          queries: [
            { expr: `min by (upstream) (entrepot_upstream_up${HERE})`, legend: '{{upstream}}' },
          ],
        },
        {
          title: 'What is wrong with the store',
          description:
            'How many mirrors have a store that is full (something found no room), read-only, or failing (the disk refuses). Pulls go on in each case; what is new is passed through and not kept.',
          shape: 'value',
          unit: 'short',
          empty: 'No mirror is scraped',
          width: 9,
          colours: [
            [null, 'green'],
            [1, 'red'],
          ],
          queries: [
            {
              expr: `sum by (state) (entrepot_store_state{state!="ok",instance=~"$instance"})`,
              legend: '{{state}}',
            },
          ],
        },
      ],
    },
    {
      title: 'What it saves',
      panels: [
        {
          title: 'Request hit ratio',
          description:
            'Of the requests for content in the time shown, those that began no transfer. HEAD and GET count alike; answers that something does not exist are left out.',
          shape: 'value',
          unit: 'percentunit',
          empty: 'Nothing was asked for',
          max: 1,
          colours: [
            [null, 'red'],
            [0.5, 'orange'],
            [0.8, 'green'],
          ],
          queries: [
            {
              expr: `sum(increase(entrepot_cache_requests_total{${HIT},instance=~"$instance"}[$__range])) / (sum(increase(entrepot_cache_requests_total{${ASKED}}[$__range])) > 0)`,
              legend: 'hits',
            },
          ],
        },
        {
          title: 'Byte hit ratio',
          description:
            'Of the bytes sent to clients in the time shown, those that no upstream sent. Below 0 when hydration and sync fetch more than clients pull.',
          shape: 'value',
          unit: 'percentunit',
          empty: 'Nothing was sent',
          max: 1,
          colours: [
            [null, 'red'],
            [0.5, 'orange'],
            [0.8, 'green'],
          ],
          queries: [
            {
              expr: `1 - sum(increase(entrepot_upstream_bytes_total${HERE}[$__range])) / (sum(increase(entrepot_http_response_bytes_total${HERE}[$__range])) > 0)`,
              legend: 'bytes',
            },
          ],
        },
        {
          title: 'Bytes saved',
          description:
            'Bytes sent to clients less bytes received from upstreams, in the time shown.',
          shape: 'value',
          unit: 'bytes',
          empty: 'Nothing was sent',
          queries: [
            {
              expr: `sum(increase(entrepot_http_response_bytes_total${HERE}[$__range])) - sum(increase(entrepot_upstream_bytes_total${HERE}[$__range]))`,
              legend: 'saved',
            },
          ],
        },
        {
          title: 'Docker Hub pulls saved',
          description:
            'Docker Hub counts a GET of a manifest as a pull: those of clients less those to it, in the time shown.',
          shape: 'value',
          unit: 'short',
          empty: 'No upstream is docker.io',
          queries: [
            {
              expr: `round(sum(increase(entrepot_cache_requests_total{upstream="docker.io",kind="manifest",method="GET",result!~"negative|refused",instance=~"$instance"}[$__range])) - sum(increase(entrepot_upstream_requests_total{upstream="docker.io",kind="manifest",method="GET",code=~"200|404",instance=~"$instance"}[$__range])))`,
              legend: 'pulls',
            },
          ],
        },
        {
          title: 'Answers',
          description: 'Requests for content a second, by how the cache answered.',
          shape: 'chart',
          unit: 'reqps',
          empty: 'Nothing was asked for',
          isStacked: true,
          min: 0,
          queries: [
            {
              expr: `sum by (result) (rate(entrepot_cache_requests_total${HERE}[$__rate_interval]))`,
              legend: '{{result}}',
            },
          ],
        },
        {
          title: 'Bytes',
          description:
            'Bytes a second to clients and from upstreams: the space between the lines is what the mirror saves, or fetches ahead.',
          shape: 'chart',
          unit: 'Bps',
          empty: 'Nothing was sent',
          min: 0,
          queries: [
            {
              expr: `sum(rate(entrepot_http_response_bytes_total${HERE}[$__rate_interval]))`,
              legend: 'to clients',
            },
            {
              expr: `sum by (purpose) (rate(entrepot_upstream_bytes_total${HERE}[$__rate_interval])) > 0`,
              legend: 'from upstreams for {{purpose}}',
            },
          ],
        },
        {
          title: 'Byte hit ratio by upstream',
          description: 'As above, for the last hour at each moment.',
          shape: 'chart',
          unit: 'percentunit',
          empty: 'Nothing was sent',
          max: 1,
          queries: [
            {
              expr: `1 - sum by (upstream) (increase(entrepot_upstream_bytes_total${HERE}[1h])) / (sum by (upstream) (increase(entrepot_http_response_bytes_total${HERE}[1h])) > 0)`,
              legend: '{{upstream}}',
            },
          ],
        },
        {
          title: 'Why it missed',
          description:
            'Misses a second. cold: it was not here; evicted: it was, the store is too small; moved: its tag means another image now; damaged: what was held is none; foreign: the upstream had to show that it has what is held because of another; absent: there is no such thing; unstored: the store does not take it.',
          shape: 'chart',
          unit: 'reqps',
          empty: 'Nothing was missed',
          isStacked: true,
          min: 0,
          queries: [
            {
              expr: `sum by (reason) (rate(entrepot_cache_misses_total${HERE}[$__rate_interval]))`,
              legend: '{{reason}}',
            },
          ],
        },
      ],
    },
    {
      title: 'Upstreams and quotas',
      panels: [
        {
          title: 'Quota left',
          description:
            'Of the requests that the upstream allows in its window, as it told last. Upstreams that tell nothing are not shown.',
          shape: 'bars',
          unit: 'percentunit',
          empty: 'No upstream tells of a limit',
          min: 0,
          max: 1,
          colours: [
            [null, 'red'],
            [0.1, 'orange'],
            [0.3, 'green'],
          ],
          queries: [
            {
              expr: `min by (upstream) (entrepot_upstream_ratelimit_remaining${HERE} / entrepot_upstream_ratelimit_limit${HERE})`,
              legend: '{{upstream}}',
            },
          ],
        },
        {
          title: 'Quota lasts for',
          description:
            'Until nothing is left, at the rate of the last hour. Nothing is shown while nothing is used.',
          shape: 'bars',
          unit: 's',
          empty: 'Nothing is used up',
          colours: [
            [null, 'red'],
            [3600, 'orange'],
            [21600, 'green'],
          ],
          queries: [
            {
              expr: `min by (upstream) (entrepot_upstream_ratelimit_empty_seconds${HERE})`,
              legend: '{{upstream}}',
            },
          ],
        },
        {
          title: 'Requests to upstreams',
          description: 'Requests a second, each attempt once, by upstream and status.',
          shape: 'chart',
          unit: 'reqps',
          empty: 'No upstream was asked',
          isStacked: true,
          min: 0,
          queries: [
            {
              expr: `sum by (upstream, code) (rate(entrepot_upstream_requests_total${HERE}[$__rate_interval])) > 0`,
              legend: '{{upstream}} {{code}}',
            },
          ],
        },
        {
          title: 'Time until upstreams answer',
          description: 'Seconds to the headers of the answer: half of the requests, and 99 of 100.',
          shape: 'chart',
          unit: 's',
          empty: 'No upstream was asked',
          min: 0,
          queries: [
            {
              expr: `histogram_quantile(0.5, sum by (upstream, le) (rate(entrepot_upstream_request_duration_seconds_bucket${HERE}[$__rate_interval]))) >= 0`,
              legend: '{{upstream}} half',
            },
            {
              expr: `histogram_quantile(0.99, sum by (upstream, le) (rate(entrepot_upstream_request_duration_seconds_bucket${HERE}[$__rate_interval]))) >= 0`,
              legend: '{{upstream}} 99 %',
            },
          ],
        },
        {
          title: 'Bytes fetched for each byte needed',
          description:
            'Bytes of blobs received over the sizes of the blobs that they made, in the last hour: 1 when each byte came once.',
          shape: 'chart',
          unit: 'short',
          empty: 'No blob was fetched',
          queries: [
            {
              expr: `sum by (upstream) (increase(entrepot_upstream_bytes_total{kind="blob",instance=~"$instance"}[1h])) / (sum by (upstream) (increase(entrepot_download_bytes_total${HERE}[1h])) > 0)`,
              legend: '{{upstream}}',
            },
          ],
        },
        {
          title: 'Logins',
          description:
            'Accounts that an upstream refuses, and token requests that failed in the last hour. `entrepot doctor` says which and why.',
          shape: 'chart',
          unit: 'short',
          empty: 'No upstream asks for a login',
          min: 0,
          queries: [
            {
              expr: `sum by (upstream) (entrepot_upstream_refused_accounts${HERE})`,
              legend: '{{upstream}} refused accounts',
            },
            {
              expr: `round(sum by (upstream) (increase(entrepot_upstream_token_requests_total{result="failed",instance=~"$instance"}[1h]))) > 0`,
              legend: '{{upstream}} failed tokens',
            },
          ],
        },
      ],
    },
    {
      title: 'How fast it answers',
      panels: [
        {
          title: 'Time to the first byte: hits',
          description:
            'Seconds until the first byte of what is held: half of the answers, and 99 of 100.',
          shape: 'chart',
          unit: 's',
          empty: 'Nothing was asked for',
          min: 0,
          queries: quantiles('result=~"hit|stale"'),
        },
        {
          title: 'Time to the first byte: misses',
          description:
            'Seconds until the first byte of what had to be fetched: half of the answers, and 99 of 100.',
          shape: 'chart',
          unit: 's',
          empty: 'Nothing was missed',
          min: 0,
          queries: quantiles('result=~"miss|joined|bypass"'),
        },
      ],
    },
    {
      title: 'Disk',
      panels: [
        {
          title: 'Store used',
          description:
            'Bytes below `store.path` of `store.maxBytes`. Near 1 is normal: the oldest images go.',
          shape: 'bars',
          unit: 'percentunit',
          empty: 'No mirror is scraped',
          min: 0,
          max: 1,
          queries: [
            {
              expr: `sum by (instance) (entrepot_store_bytes{state!="reserved",instance=~"$instance"}) / on (instance) entrepot_store_limit_bytes${HERE}`,
              legend: '{{instance}}',
            },
          ],
        },
        {
          title: 'Time until the disk is full',
          description:
            'Until only `store.minFreeBytes` are free, at the rate of the last six hours. From then on the mirror makes room. A disk that does not fill, or is full, is not shown.',
          shape: 'bars',
          unit: 's',
          empty: 'The disk does not fill',
          colours: [
            [null, 'red'],
            [86400, 'orange'],
            [604800, 'green'],
          ],
          queries: [
            {
              expr: `(entrepot_store_free_bytes${HERE} - entrepot_store_min_free_bytes${HERE} > 0) / (-deriv(entrepot_store_free_bytes${HERE}[6h]) > 0)`,
              legend: '{{instance}}',
            },
          ],
        },
      ],
    },
  ],
};

function quantiles(results: string) {
  return [0.5, 0.99].map((share) => ({
    expr: `histogram_quantile(${share}, sum by (kind, le) (rate(entrepot_http_request_duration_seconds_bucket{${results},instance=~"$instance"}[$__rate_interval]))) >= 0`,
    legend: `{{kind}} ${share === 0.5 ? 'half' : '99 %'}`,
  }));
}
