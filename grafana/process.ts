import type { Page } from './dashboard.ts';

const HERE = '{instance=~"$instance"}';

/** The process that serves: version, configuration, memory, descriptors, certificates, and whom it lets in. */
export const PROCESS: Page = {
  uid: 'entrepot-process',
  title: 'Entrepot / Process',
  description:
    'The process that serves: version, configuration, memory, descriptors, certificates, and whom it lets in.',
  rows: [
    {
      title: 'What runs',
      panels: [
        {
          title: 'Version',
          description: 'How many mirrors run each version of the program and of Node.',
          shape: 'value',
          unit: 'short',
          empty: 'No mirror is scraped',
          queries: [
            {
              expr: `count by (version, node) (entrepot_build_info${HERE})`,
              legend: '{{version}} on Node {{node}}',
            },
          ],
        },
        {
          title: 'Running for',
          description: 'Since the start of the process. Counters start at 0 with it.',
          shape: 'value',
          unit: 's',
          empty: 'No mirror is scraped',
          queries: [{ expr: `time() - process_start_time_seconds${HERE}`, legend: '{{instance}}' }],
        },
        {
          title: 'Configuration',
          description:
            'Whether the file was taken when it was last read. When it is refused, the one before stays in force; the log says what is wrong, as `entrepot config check` does.',
          shape: 'value',
          unit: 'none',
          empty: 'No mirror is scraped',
          words: { 0: 'refused', 1: 'in force' },
          colours: [
            [null, 'red'],
            [1, 'green'],
          ],
          queries: [
            { expr: `entrepot_config_last_reload_successful${HERE}`, legend: '{{instance}}' },
          ],
        },
        {
          title: 'Read',
          description: 'How long ago the configuration was read that is in force.',
          shape: 'value',
          unit: 's',
          empty: 'No mirror is scraped',
          queries: [
            {
              expr: `time() - entrepot_config_last_reload_success_timestamp_seconds${HERE}`,
              legend: '{{instance}} ago',
            },
          ],
        },
        {
          title: 'Certificates and credentials end in',
          description:
            'Until the first certificate or issued credential of each upstream ends. Issued credentials are renewed by themselves while their issuer answers.',
          shape: 'bars',
          unit: 's',
          empty: 'None has an end',
          width: 24,
          colours: [
            [null, 'red'],
            [604800, 'orange'],
            [2592000, 'green'],
          ],
          queries: [
            {
              expr: `min by (upstream, kind) (entrepot_certificate_expiry_timestamp_seconds${HERE}) - time()`,
              legend: '{{upstream}} {{kind}} certificate',
            },
            {
              expr: `min by (upstream) (entrepot_upstream_credential_expiry_timestamp_seconds${HERE}) - time()`,
              legend: '{{upstream}} credential',
            },
          ],
        },
      ],
    },
    {
      title: 'What it takes',
      panels: [
        {
          title: 'CPU',
          description:
            'Seconds of processor time a second; above 1 only with more threads than one.',
          shape: 'chart',
          unit: 'percentunit',
          empty: 'No mirror is scraped',
          min: 0,
          queries: [
            {
              expr: `rate(process_cpu_seconds_total${HERE}[$__rate_interval])`,
              legend: '{{instance}}',
            },
          ],
        },
        {
          title: 'Memory',
          description: 'Resident bytes, and the part that the heap of JavaScript uses.',
          shape: 'chart',
          unit: 'bytes',
          empty: 'No mirror is scraped',
          min: 0,
          queries: [
            { expr: `process_resident_memory_bytes${HERE}`, legend: '{{instance}} resident' },
            { expr: `nodejs_heap_size_used_bytes${HERE}`, legend: '{{instance}} heap' },
          ],
        },
        {
          title: 'Delay of the event loop',
          description:
            'Seconds that a step waited for the one before: 99 of 100, and the longest, since the last scrape.',
          shape: 'chart',
          unit: 's',
          empty: 'No mirror is scraped',
          min: 0,
          queries: [
            { expr: `nodejs_eventloop_lag_p99_seconds${HERE}`, legend: '{{instance}} 99 %' },
            { expr: `nodejs_eventloop_lag_max_seconds${HERE}`, legend: '{{instance}} longest' },
          ],
        },
        {
          title: 'Descriptors',
          description: 'Open files and connections, of those that the process may have.',
          shape: 'chart',
          unit: 'percentunit',
          empty: 'No mirror is scraped',
          min: 0,
          max: 1,
          queries: [
            {
              expr: `process_open_fds${HERE} / process_max_fds${HERE}`,
              legend: '{{instance}}',
            },
          ],
        },
      ],
    },
    {
      title: 'What it answers',
      panels: [
        {
          title: 'Answers by status',
          description: 'Requests a second on the public listener, by status.',
          shape: 'chart',
          unit: 'reqps',
          empty: 'Nothing was asked for',
          isStacked: true,
          min: 0,
          queries: [
            {
              expr: `sum by (code) (rate(entrepot_http_requests_total${HERE}[$__rate_interval]))`,
              legend: '{{code}}',
            },
          ],
        },
        {
          title: 'Breaks that were mended',
          description: 'Transfers that went on after a break, in the hour before each moment.',
          shape: 'chart',
          unit: 'short',
          empty: 'None',
          min: 0,
          queries: [
            {
              expr: `round(sum by (upstream) (increase(entrepot_download_resumes_total${HERE}[1h]))) > 0`,
              legend: '{{upstream}}',
            },
          ],
        },
      ],
    },
    {
      title: 'What may be pulled',
      panels: [
        {
          title: 'Refused by admission',
          description:
            'What rules of admission that enforce refused or could not judge (`unknown`, which clients are told as 503), in the hour before each moment. `entrepot policy check` says of an image why.',
          shape: 'chart',
          unit: 'short',
          empty: 'Nothing was refused',
          min: 0,
          queries: [
            {
              expr: `round(sum by (rule, outcome) (increase(entrepot_admission_verdicts_total{mode="enforce",outcome!="admitted",instance=~"$instance"}[1h]))) > 0`,
              legend: '{{rule}} {{outcome}}',
            },
          ],
        },
        {
          title: 'Would be refused',
          description:
            'What rules of admission that audit would refuse, or could not judge, in the hour before each moment. All of it was served.',
          shape: 'chart',
          unit: 'short',
          empty: 'Nothing would be refused',
          min: 0,
          queries: [
            {
              expr: `round(sum by (rule, outcome) (increase(entrepot_admission_verdicts_total{mode="audit",outcome!="admitted",instance=~"$instance"}[1h]))) > 0`,
              legend: '{{rule}} {{outcome}}',
            },
          ],
        },
        {
          title: 'Age of the trust root',
          description:
            'How long ago the file of the trust root was written, which `entrepot trust refresh` does each time. Signatures of new authorities do not count before they are in it.',
          shape: 'value',
          unit: 's',
          empty: 'No trust root',
          colours: [
            [null, 'green'],
            [2_592_000, 'orange'],
          ],
          queries: [
            {
              expr: `time() - entrepot_admission_trust_root_timestamp_seconds${HERE}`,
              legend: '{{instance}}',
            },
          ],
        },
        {
          title: 'Scans',
          description:
            'Scans of the scanner by how they ended, in the hour before each moment. While it fails what was found before counts for `maxAge`.',
          shape: 'chart',
          unit: 'short',
          empty: 'Nothing was scanned',
          min: 0,
          queries: [
            {
              expr: `round(sum by (outcome) (increase(entrepot_admission_scans_total${HERE}[1h]))) > 0`,
              legend: '{{outcome}}',
            },
          ],
        },
        {
          title: "Age of the scanner's database",
          description:
            'How long ago the database of the scanner was made, as it says itself. What was found out since is not looked for.',
          shape: 'value',
          unit: 's',
          empty: 'No scanner, or it does not say',
          colours: [
            [null, 'green'],
            [259_200, 'orange'],
          ],
          queries: [
            {
              expr: `time() - entrepot_admission_scanner_database_timestamp_seconds${HERE}`,
              legend: '{{instance}}',
            },
          ],
        },
      ],
    },
    {
      title: 'Who is let in',
      panels: [
        {
          title: 'Refusals',
          description:
            'Requests that were refused by who asked, in the hour before each moment. Clients that ask without a login first, as Docker does, are `anonymous`; `rule` is somebody known who may not.',
          shape: 'chart',
          unit: 'short',
          empty: 'Nobody was refused',
          min: 0,
          queries: [
            {
              expr: `round(sum by (door, reason) (increase(entrepot_access_denials_total${HERE}[1h]))) > 0`,
              legend: '{{door}} {{reason}}',
            },
          ],
        },
        {
          title: 'Passwords',
          description:
            'Passwords that were shown for the first time, in the hour before each moment. Many that are `wrong` or `limited` are guesses; `unknown` are mostly pull secrets of upstreams.',
          shape: 'chart',
          unit: 'short',
          empty: 'None was shown',
          min: 0,
          queries: [
            {
              expr: `round(sum by (result) (increase(entrepot_access_passwords_total${HERE}[1h]))) > 0`,
              legend: '{{result}}',
            },
          ],
        },
        {
          title: 'Audit lines lost',
          description:
            'Lines of `log.audit` that could not be written, in the hour before each moment.',
          shape: 'chart',
          unit: 'short',
          empty: 'None',
          min: 0,
          queries: [
            {
              expr: `round(sum by (instance) (increase(entrepot_audit_lines_lost_total${HERE}[1h]))) > 0`,
              legend: '{{instance}}',
            },
          ],
        },
      ],
    },
  ],
};
