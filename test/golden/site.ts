/** A server by a configuration file, with a scripted upstream, and the commands beside it. */
import { EventEmitter } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import packageJson from '../../package.json' with { type: 'json' };
import { runCommand } from '../../src/cli/program.ts';
import { loadConfig } from '../../src/config/load.ts';
import { createLog } from '../../src/observe/log.ts';
import { startServer, type RunningServer } from '../../src/server.ts';
import { createFolder } from '../config/config-folder.ts';
import { get, open } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildArtifact, buildImage, buildIndex } from '../helpers/image.ts';
import { createTempFolder, TEST_TIMING } from '../helpers/mirror.ts';
import { clockOf } from '../helpers/clock.ts';

const MINUTE = 60_000;
const START = Date.UTC(2026, 10, 21, 12, 10);

export const APP = buildIndex(
  ['amd64', 'arm64'].map((architecture) => {
    const platform = { os: 'linux', architecture };
    return {
      image: buildImage({ seed: architecture, layers: [4_000, 3_000], platform }),
      platform,
    };
  }),
);
export const OLD = buildImage({ seed: 'old', layers: [5_000] });
export const JUNK = buildImage({ seed: 'junk', layers: [1_000] });
const BASE = buildImage({ seed: 'base', layers: [2_000] });
const SIGNATURE = buildArtifact({
  seed: 'signature',
  artifactType: 'application/vnd.example.signature',
  subject: APP.manifest,
});

const YAML = `store: { path: STORE, maxBytes: 1GiB, minFreeBytes: 0, pins: ['hub.example/org/keep:*'] }
defaultUpstream: hub.example
upstreams:
  hub.example: { url: 'REGISTRY', hydrate: false, concurrency: 1 }
  down.example: { url: 'https://127.0.0.1:9' }
sync:
  schedule: '0 * * * *'
  timezone: UTC
  defaults: { referrers: false }
  rules:
    - image: hub.example/org/base
      tags: [v1, gone]
    - image: hub.example/org/app
      platforms: [linux/amd64]
      tags: { globs: ['v*'] }
`;

export class Site {
  readonly t: ExecutionContext;
  readonly registry: FakeRegistry;
  readonly server: RunningServer;
  readonly log: readonly Record<string, unknown>[];
  readonly #yaml: string;
  readonly #clock: { now: number };
  readonly #storePath: string;

  static async start(t: ExecutionContext): Promise<Site> {
    const registry = await FakeRegistry.start(t);
    registry.addImage('org/old', 'v0', OLD);
    registry.addImage('org/junk', 'v1', JUNK);
    registry.addImage('org/base', 'v1', BASE);
    const storePath = await createTempFolder(t);
    const yaml = YAML.replace('STORE', storePath).replace('REGISTRY', registry.url);
    const text = `listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n${yaml}`;
    const { config } = loadConfig({ cwd: createFolder(t, { 'entrepot.yaml': text }), env: {} });
    const clock = { now: START };
    const log: Record<string, unknown>[] = [];
    const write = (line: string) => log.push(JSON.parse(line) as Record<string, unknown>);
    const server = await startServer(
      { ...config, graceMs: 20 },
      {
        log: createLog({ level: 'debug', destination: { write } }),
        clock: clockOf(() => clock.now),
        timing: TEST_TIMING,
      },
    );
    t.teardown(async () => server.close());
    const site = new Site({ t, registry, server, log, yaml, clock, storePath });
    await site.synced();
    // What came after the first run of sync.
    registry.addIndex('org/app', 'v1', APP);
    registry.addImage('org/app', undefined, SIGNATURE);
    return site;
  }

  constructor(parts: {
    t: ExecutionContext;
    registry: FakeRegistry;
    server: RunningServer;
    log: readonly Record<string, unknown>[];
    yaml: string;
    clock: { now: number };
    storePath: string;
  }) {
    this.t = parts.t;
    this.registry = parts.registry;
    this.server = parts.server;
    this.log = parts.log;
    this.#yaml = parts.yaml;
    this.#clock = parts.clock;
    this.#storePath = parts.storePath;
  }

  /** The run of sync that begins with the server is over. */
  async synced(): Promise<void> {
    for (;;) {
      const { body } = await get(`${this.server.adminUrl}/api/v1/sync/run`);
      const state = JSON.parse(body.toString()) as { running?: object; last?: object };
      if (state.last && !state.running) return;
      await delay(10);
    }
  }

  /** Lets time pass. */
  minutes(count: number): void {
    this.#clock.now += count * MINUTE;
  }

  /** The status line and the headers of an answer, and its body when that is a document. */
  async pull(path: string, headers: Readonly<Record<string, string>> = {}): Promise<string> {
    const [method = '', target = ''] = path.split(' ');
    const response = await open(`${this.server.url}${target}`, { method, headers });
    const body = await response.rest();
    await this.idle();
    const asked = Object.entries(headers).map(([name, value]) => `${name}: ${value}\n`);
    const told = response.rawHeaders
      .flatMap((name, at, all) => (at % 2 === 0 ? [`${name}: ${all[at + 1]}`] : []))
      .filter((line) => !line.startsWith('Date: '));
    const isText = response.headers['content-type']?.startsWith('application/json');
    const end = isText ? `\n${body.toString()}\n` : '';
    return this.even(
      `> ${path}\n${asked.join('')}${response.status}\n${told.join('\n')}\n${end}\n`,
    );
  }

  /** What a command prints and ends with, as text and as JSON. */
  async command(...args: readonly string[]): Promise<string> {
    return (await this.#run(args)) + (await this.#run([...args, '--json']));
  }

  async idle(): Promise<void> {
    for (;;) {
      const { downloads, questions, openFiles } = this.server.activity();
      if (downloads + questions + openFiles === 0) return;
      await delay(5);
    }
  }

  /** Ports, paths and what takes time are replaced. */
  even(text: string): string {
    return text
      .replaceAll(this.#storePath, 'STORE')
      .replaceAll(/"(free|other)Bytes": \d+/g, '"$1Bytes": N')
      .replaceAll(packageJson.version, 'VERSION')
      .replaceAll(/\b[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}\b/g, 'ID')
      .replaceAll(/(127\.0\.0\.1|localhost):\d+/g, '$1:PORT')
      .replaceAll(/\S+ \S+ of its disk free/g, 'N of its disk free')
      .replaceAll(/\bport \d+/g, 'port PORT')
      .replaceAll(/\b\d+ ms\b/g, 'N ms');
  }

  async #run(args: readonly string[]): Promise<string> {
    const output = { stdout: '', stderr: '' };
    const admin = new URL(this.server.adminUrl).host;
    const yaml = `listen: 127.0.0.1:0\nadmin: ${admin}\n${this.#yaml}`;
    const files = { 'entrepot.yaml': yaml, 'in-use': '# none\norg/old:v0 # here\n' };
    const context = {
      env: {},
      cwd: createFolder(this.t, files),
      stdout: { write: (text: string) => (output.stdout += text) },
      stderr: { write: (text: string) => (output.stderr += text) },
      signals: new EventEmitter(),
      kill: () => this.t.fail('the command must not end the process'),
    };
    const code = await runCommand(args, context, {
      now: () => this.#clock.now,
      pause: async () => undefined,
    });
    const told = output.stderr === '' ? '' : `--- stderr\n${output.stderr}`;
    return this.even(`$ entrepot ${args.join(' ')}\n${output.stdout}${told}--- exit ${code}\n\n`);
  }
}
