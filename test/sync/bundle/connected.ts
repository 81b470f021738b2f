import { EventEmitter } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { pino } from 'pino';
import { runCommand } from '../../../src/cli/program.ts';
import { startPrivateAdmin } from '../../../src/server.ts';
import { SigningKey } from '../../../sync/bundle/signing-key.ts';
import { claimPort } from '../../helpers/claim-port.ts';
import { FakeRegistry } from '../../helpers/fake-registry.ts';
import {
  startMirror,
  TEST_TIMING,
  type MirrorOptions,
  type TestMirror,
} from '../../helpers/mirror.ts';
import { UPSTREAM } from '../../helpers/scene.ts';
import { DraftClient } from './draft-client.ts';

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A mirror with its upstream, and the commands of an operator beside it, in a folder of their own. */
export class Connected {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  readonly drafts: DraftClient;
  readonly folder: string;
  readonly signals = new EventEmitter();
  readonly key = SigningKey.generate();
  readonly #t: ExecutionContext;

  /** With `maker.key` in the folder of the commands. */
  static async start(
    t: ExecutionContext,
    options: Partial<MirrorOptions> & { readonly registry?: FakeRegistry } = {},
  ): Promise<Connected> {
    const { registry = await FakeRegistry.start(t), ...rest } = options;
    const upstreams = { [UPSTREAM]: { url: registry.url } };
    const admin = { port: await claimPort() };
    const mirror = await startMirror(t, { upstreams, admin, ...rest });
    const folder = mkdtempSync(join(tmpdir(), 'entrepot-test-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const connected = new Connected(t, { registry, mirror, folder });
    connected.write('maker.key', connected.key.format());
    return connected;
  }

  private constructor(
    t: ExecutionContext,
    parts: Pick<Connected, 'registry' | 'mirror' | 'folder'>,
  ) {
    this.#t = t;
    this.registry = parts.registry;
    this.mirror = parts.mirror;
    this.folder = parts.folder;
    this.drafts = new DraftClient(parts.mirror);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, data: string | Uint8Array): void {
    writeFileSync(this.path(name), data);
  }

  /** Of the server; where that is stopped, with the store itself. */
  async run(...args: string[]): Promise<CommandResult> {
    const log = pino({ level: 'silent' });
    this.write(
      'entrepot.yaml',
      [
        'listen: 127.0.0.1:0',
        `admin: ${new URL(this.mirror.server.adminUrl).host}`,
        `store: { path: ${this.mirror.storePath}, maxBytes: 1TiB, minFreeBytes: 0 }`,
        `defaultUpstream: ${UPSTREAM}`,
        `upstreams: { ${UPSTREAM}: { url: "${this.registry.url}", hydrate: false } }`,
      ].join('\n'),
    );
    const output = { stdout: '', stderr: '' };
    const context = {
      env: { NO_COLOR: '1' },
      cwd: this.folder,
      stdout: { write: (text: string) => (output.stdout += text) },
      stderr: { write: (text: string) => (output.stderr += text) },
      signals: this.signals,
      kill: () => this.#t.fail('the command must not end the process'),
    };
    const options = { log, timing: TEST_TIMING };
    const code = await runCommand(args, context, {
      openLog: () => log,
      pause: async () => new Promise((resolve) => setTimeout(resolve, 5)),
      startPrivateAdmin: async (config, path) => startPrivateAdmin(config, path, options),
    });
    return { code, ...output };
  }

  async create(...args: string[]): Promise<CommandResult> {
    return this.run('bundle', 'create', '--key', 'maker.key', ...args);
  }
}
