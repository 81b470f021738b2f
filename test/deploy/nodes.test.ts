/** The loop of the DaemonSet, as a process on a made-up node: its files are there while the mirror answers. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { createCertificates } from '../helpers/certificate.ts';
import { claimPort } from '../helpers/claim-port.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { MirrorProcess } from '../helpers/process.ts';
import { serve } from '../helpers/serve.ts';
import { until } from '../helpers/until.ts';

const PROJECT = join(import.meta.dirname, '..', '..');
const LOOP = join(PROJECT, 'deploy', 'chart', 'entrepot', 'files', 'nodes.mts');
const ENTREPOT = [process.execPath, join(PROJECT, 'src', 'main.ts')];
const HOSTS = 'etc/containerd/certs.d/docker.io/hosts.toml';
/** What an operator has on a node. */
const FOREIGN = {
  'etc/containerd/config.toml':
    'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\nconfig_path = "/etc/containerd/certs.d"\n',
  'etc/containerd/certs.d/own.example/hosts.toml': 'server = "https://own.example"\n',
};

/** The loop, with what it said that it did. */
class NodeLoop {
  readonly done: string[] = [];
  readonly child: ChildProcess;

  constructor(t: ExecutionContext, args: readonly string[]) {
    const pace = ['--interval=0.02', '--failures=3'];
    const stdio = ['ignore', 'pipe', 'inherit'] as const;
    this.child = spawn(process.execPath, [LOOP, ...pace, ...args], { stdio: [...stdio] });
    t.teardown(() => void this.child.kill('SIGKILL'));
    createInterface({ input: this.child.stdout! }).on('line', (line) => {
      const told = line.startsWith('{"level"') ? (JSON.parse(line) as { msg: string }) : undefined;
      if (told) this.done.push(told.msg);
    });
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | string> {
    const gone = once(this.child, 'close');
    this.child.kill(signal);
    const [code, by] = (await gone) as [number | null, string | null];
    return code ?? by ?? 'unknown';
  }
}

test('the files are there while the mirror answers, and the node is as it was when it does not and at the end', async (t) => {
  const { root, files, command } = await startNode(t);
  const before = files();
  const folder = await createTempFolder(t);
  const port = await claimPort();
  const listen = { listen: `127.0.0.1:${port}` };
  const state = join(folder, 'state');
  let mirror = await MirrorProcess.start(t, folder, listen);
  const loop = new NodeLoop(t, [
    `--address=${mirror.url}`,
    `--state=${state}`,
    ...command(mirror.url),
  ]);

  await until('the files are written', () => loop.done.length === 1);
  t.true(readFileSync(join(root, HOSTS), 'utf8').includes(mirror.url));
  const written = files();
  await rm(dirname(join(root, HOSTS)), { recursive: true });
  await until('what somebody took away is back', () => existsSync(join(root, HOSTS)));
  t.deepEqual([files(), loop.done.length], [written, 1]);

  await mirror.end('SIGKILL');
  await until('the files are withdrawn', () => loop.done.length === 2);
  t.deepEqual(files(), before);

  mirror = await MirrorProcess.start(t, folder, listen);
  await until('the files are written again', () => loop.done.length === 3);
  t.deepEqual(files(), written);
  t.is(readFileSync(state, 'utf8'), '--write\n');

  t.is(await loop.end('SIGTERM'), 0);
  t.deepEqual(files(), before);
  t.deepEqual(
    loop.done,
    ['write', 'remove', 'write', 'remove'].map((what) => `--${what}: done`),
  );
});

test('what a pod left that was killed is whole, and goes when the mirror does not answer or when it is let go', async (t) => {
  for (const rest of [['--address=http://127.0.0.1:1'], ['--mode=remove']]) {
    const { files, command } = await startNode(t);
    const before = files();
    const server = createServer((_, response) => response.end());
    const { origin } = await serve(t, server);
    const loop = new NodeLoop(t, [`--address=${origin}`, ...command(origin)]);
    await until('the files are written', () => loop.done.length === 1);
    t.is(await loop.end('SIGKILL'), 'SIGKILL');
    t.notDeepEqual(files(), before);
    const next = new NodeLoop(t, [...rest, ...command(origin)]);
    await until('the files are taken away', () => next.done.length === 1);
    t.deepEqual([files(), next.done], [before, ['--remove: done']]);
    t.is(await next.end('SIGTERM'), 0);
  }
});

test('only looks in vain one after the other count, and one good look is enough to come back', async (t) => {
  // A mirror that asks who is there answers 401.
  const answers = [200, 500, 503, 401, 404, 500, 500, 500, 401];
  let looks = 0;
  const paths = new Set<string>();
  const server = createServer(({ method, url }, response) => {
    paths.add(`${method} ${url}`);
    const status = answers[looks++];
    // The last look is left without an answer.
    if (status !== undefined) response.writeHead(status).end();
  });
  const { origin } = await serve(t, server);
  const log = join(await createTempFolder(t), 'log');
  const loop = new NodeLoop(t, [`--address=${origin}`, ...recorder(log)]);
  await until('a look is left without an answer', () => looks > answers.length);
  t.deepEqual(loop.done, ['--write: done', '--remove: done', '--write: done']);
  t.is(await loop.end('SIGTERM'), 0);
  t.is(readFileSync(log, 'utf8'), '--write\n--remove\n--write\n--remove\n');
  t.deepEqual([...paths], ['GET /v2/']);
});

test('the mirror is known by the authority that was given', async (t) => {
  const { ca, server: pair } = await createCertificates();
  const { origin } = await serve(
    t,
    createTlsServer(pair, (_, response) => response.end()),
  );
  const folder = await createTempFolder(t);
  await writeFile(join(folder, 'ca.crt'), ca);
  for (const [given, first] of [
    [[`--ca=${join(folder, 'ca.crt')}`], '--write: done'],
    [[], '--remove: done'],
  ] as const) {
    const loop = new NodeLoop(t, [
      `--address=${origin}`,
      ...given,
      ...recorder(join(folder, 'log')),
    ]);
    await until('it decided', () => loop.done.length > 0);
    t.is(loop.done[0], first);
    await loop.end('SIGTERM');
  }
});

test('what fails is tried again, is not called done, and is how the loop ends', async (t) => {
  const { origin } = await serve(
    t,
    createServer((_, response) => response.end()),
  );
  const state = join(await createTempFolder(t), 'state');
  const loop = new NodeLoop(t, [
    `--address=${origin}`,
    `--state=${state}`,
    '--',
    'sh',
    '-c',
    'exit 3',
  ]);
  await until('it was tried again', () => loop.done.length > 1);
  t.false(existsSync(state));
  t.is(await loop.end('SIGTERM'), 1);
  t.deepEqual(
    [loop.done[0], loop.done.at(-1)],
    ['--write: ended with 3', '--remove: ended with 3'],
  );
});

test('what a write that failed may have left is taken away at the end', async (t) => {
  const answers = [500, 500, 500, 200];
  let looks = 0;
  const server = createServer((_, response) => {
    const status = answers[looks++];
    if (status !== undefined) response.writeHead(status).end();
  });
  const { origin } = await serve(t, server);
  const log = join(await createTempFolder(t), 'log');
  const failing = ['--', 'sh', '-c', 'echo "$1" >>"$0"; [ "$1" = --remove ]', log];
  const loop = new NodeLoop(t, [`--address=${origin}`, ...failing]);
  await until('the look after the write is there', () => looks > answers.length);
  t.is(await loop.end('SIGTERM'), 0);
  t.is(readFileSync(log, 'utf8'), '--remove\n--write\n--remove\n');
});

/** A node's file system, and the command that the chart runs on it. */
async function startNode(t: ExecutionContext): Promise<{
  root: string;
  files: () => Record<string, string>;
  command: (address: string) => string[];
}> {
  const root = await createTempFolder(t);
  for (const [path, text] of Object.entries(FOREIGN)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  const config = join(await createTempFolder(t), 'entrepot.yaml');
  await writeFile(config, '{}');
  const args = ['clients', 'containerd', `--config=${config}`, `--root=${root}`];
  return {
    root,
    files: () => treeOf(root),
    command: (address) => ['--', ...ENTREPOT, ...args, `--address=${address}`],
  };
}

/** Every path below, with its mode and what a file says. */
function treeOf(root: string): Record<string, string> {
  const paths = readdirSync(root, { recursive: true, encoding: 'utf8' });
  return Object.fromEntries(
    paths.toSorted().map((path) => {
      const stats = statSync(join(root, path));
      const text = stats.isFile() ? readFileSync(join(root, path), 'utf8') : '/';
      return [path, `${stats.mode.toString(8)} ${text}`];
    }),
  );
}

/** A command that writes down what it was asked. */
function recorder(log: string): string[] {
  return ['--', 'sh', '-c', 'echo "$1" >>"$0"', log];
}
