import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import type { ExecutionContext } from 'ava';
import { claimPort } from '../helpers/claim-port.ts';
import { get } from '../helpers/client.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { serve } from '../helpers/serve.ts';
import { until } from '../helpers/until.ts';

const RULES = join(import.meta.dirname, '..', '..', 'grafana', 'rules');
/** An hour of a rule is a minute here. */
const FASTER = 60;
const SECONDS: Readonly<Record<string, number>> = { m: 60, h: 3600, d: 86_400 };

/** One series of an answer: its labels, and its moments (seconds since 1970) with values as text. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly (readonly [number, string])[];
}

interface Notice {
  readonly status: 'firing' | 'resolved';
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/**
 * A Prometheus that scrapes mirrors every two seconds and evaluates the committed rules with all their times
 * divided by 60, and an Alertmanager that tells this test of each alert that begins and ends.
 */
export class Observatory {
  /** All that the Alertmanager told, in order. */
  readonly notices: Notice[] = [];
  readonly #prometheus: string;

  /** Mirrors by the name that they have as `instance`, with the URL that has their `/metrics`. */
  static async start(
    t: ExecutionContext,
    mirrors: Readonly<Record<string, string>>,
  ): Promise<Observatory> {
    const folder = await createTempFolder(t);
    const [prometheus, alertmanager] = [await claimPort(), await claimPort()];
    const observatory = new Observatory(`http://127.0.0.1:${prometheus}`);
    const hook = await serve(
      t,
      createServer((request, response) => {
        void json(request).then((told) => {
          observatory.notices.push(...(told as { alerts: Notice[] }).alerts);
          response.end();
        });
      }),
    );
    const receiver = { name: 'test', webhook_configs: [{ url: hook.href, send_resolved: true }] };
    const route = {
      receiver: 'test',
      group_by: ['...'],
      group_wait: '0s',
      group_interval: '1s',
      repeat_interval: '1h',
    };
    await write(join(folder, 'alertmanager.yaml'), { route, receivers: [receiver] });
    await write(join(folder, 'prometheus.yaml'), {
      global: { scrape_interval: '2s', scrape_timeout: '2s', evaluation_interval: '1s' },
      rule_files: ['*.rules.yaml'],
      scrape_configs: [
        { job_name: 'entrepot', static_configs: Object.entries(mirrors).map(target) },
      ],
      alerting: {
        alertmanagers: [{ static_configs: [{ targets: [`127.0.0.1:${alertmanager}`] }] }],
      },
    });
    for (const name of ['alerts', 'recording']) {
      const rules = await readFile(join(RULES, `${name}.yaml`), 'utf8');
      await writeFile(join(folder, `${name}.rules.yaml`), hasten(rules));
    }
    await run(t, folder, 'prometheus-alertmanager', [
      '--config.file=alertmanager.yaml',
      '--storage.path=alertmanager',
      '--cluster.listen-address=',
      `--web.listen-address=127.0.0.1:${alertmanager}`,
    ]);
    await run(t, folder, 'prometheus', [
      '--config.file=prometheus.yaml',
      '--storage.tsdb.path=prometheus',
      `--web.listen-address=127.0.0.1:${prometheus}`,
    ]);
    for (const port of [prometheus, alertmanager]) await ready(`http://127.0.0.1:${port}`);
    // An increase counts from the first scrape on.
    const { length } = Object.keys(mirrors);
    await until('all mirrors are scraped', async () => {
      return (await observatory.now('entrepot_ready == 1')).length === length;
    });
    return observatory;
  }

  /** Use `start`. */
  constructor(prometheus: string) {
    this.#prometheus = prometheus;
  }

  /** What a panel has for the last so many seconds, a value a second. */
  async range(expr: string, seconds: number): Promise<readonly Series[]> {
    const end = Date.now() / 1000;
    const when = { start: String(end - seconds), end: String(end), step: '1' };
    return this.#ask('query_range', { query: expr, ...when }) as Promise<readonly Series[]>;
  }

  /** The values at this moment. */
  async now(expr: string): Promise<readonly number[]> {
    const found = await this.#ask('query', { query: expr });
    return (found as { value: [number, string] }[]).map(({ value: [, text] }) => Number(text));
  }

  /** Resolves once the Alertmanager has told that an alert of a mirror began, or ended. */
  async told(alert: string, status: Notice['status'], mirror: string): Promise<void> {
    await until(
      `${alert} is ${status}`,
      () => this.#of(alert, mirror).some((told) => told === status),
      {
        withinMs: 240_000,
      },
    );
  }

  /** Resolves once the last that was told of an alert of a mirror is this. */
  async stands(alert: string, status: Notice['status'], mirror: string): Promise<void> {
    await until(`${alert} stands at ${status}`, () => this.#of(alert, mirror).at(-1) === status, {
      withinMs: 240_000,
    });
  }

  /** Each alert that ever began, with its mirror. */
  get everFired(): ReadonlySet<string> {
    return new Set(
      this.notices.map(({ labels }) => `${labels['alertname']} ${labels['instance']}`),
    );
  }

  #of(alert: string, mirror: string): Notice['status'][] {
    return this.notices
      .filter(({ labels }) => labels['alertname'] === alert && labels['instance'] === mirror)
      .map(({ status }) => status);
  }

  async #ask(what: string, query: Readonly<Record<string, string>>): Promise<unknown> {
    const url = `${this.#prometheus}/api/v1/${what}?${new URLSearchParams(query).toString()}`;
    const { status, body } = await get(url);
    if (status !== 200) throw new Error(`${query['query']}: ${body.toString()}`);
    return (JSON.parse(body.toString()) as { data: { result: unknown } }).data.result;
  }
}

/** The rules with windows, delays, intervals and forecasts that are 60 times shorter. */
function hasten(rules: string): string {
  return rules
    .replace(
      /(\[|for: |interval: )(\d+)([mhd])/g,
      (_, before: string, count: string, unit: string) =>
        `${before}${(Number(count) * (SECONDS[unit] ?? 1)) / FASTER}s`,
    )
    .replace(
      /(predict_linear\([^,]+, )(\d+)/g,
      (_, before: string, count: string) => `${before}${Number(count) / FASTER}`,
    );
}

function target([instance, url]: readonly [string, string]) {
  return { targets: [new URL(url).host], labels: { instance } };
}

async function write(path: string, document: object): Promise<void> {
  await writeFile(path, JSON.stringify(document));
}

/** Runs a server to the end of the test; what it says of itself is shown where it ends by itself. */
async function run(
  t: ExecutionContext,
  folder: string,
  program: string,
  args: readonly string[],
): Promise<void> {
  await mkdir(join(folder, program), { recursive: true });
  const child = spawn(program, [...args, '--log.level=error'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const gone = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGTERM');
    await gone;
  });
}

async function ready(url: string): Promise<void> {
  await until(`${url} is ready`, async () => {
    const answer = await get(`${url}/-/ready`).catch(() => undefined);
    return answer?.status === 200;
  });
}
