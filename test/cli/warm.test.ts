import test from 'ava';
import type { WarmState } from '../../src/api/warm-api.ts';
import { RegistryError } from '../../src/oci/errors.ts';
import { Listener } from '../../src/http/listener.ts';
import { pino } from 'pino';
import { createFakeAdmin } from '../admin/fake-admin.ts';
import { FakeWarmApi, WARM_PROGRESS, WARM_REPORT } from '../admin/fake-warm-api.ts';
import { buildImage } from '../helpers/image.ts';
import { startLiveStore } from './live-store.ts';
import { runStoreCommand, stepwise, type RunOptions } from './run-store-command.ts';
import type { ExecutionContext } from 'ava';

const HOST = { host: '127.0.0.1', port: 0 };

async function startFake(t: ExecutionContext) {
  const warm = new FakeWarmApi();
  const log = pino({ level: 'silent' });
  const listener = await Listener.open(HOST, createFakeAdmin({ warm }).callback(), log);
  t.teardown(async () => listener.close(0));
  const admin = new URL(listener.url).host;
  const run = async (args: readonly string[], options: RunOptions = {}) =>
    runStoreCommand(t, ['warm', ...args], { admin, ...options });
  return { warm, run };
}

const TABLE = [
  '1 of 3 images ready after 12s',
  '',
  'IMAGE                         STATE   HELD      MISSING   WHY',
  'docker.io/library/nginx:1.27  ready   50.0 MiB',
  'ghcr.io/org/app:v1            late    1.46 KiB  12.0 MiB  not all of it was here by the deadline',
  'ghcr.io/org/app:v9            failed  0 B                 the upstream has no such tag',
  '',
].join('\n');

test('warm says what became of each image, and fails unless all are ready', async (t) => {
  const { warm, run } = await startFake(t);
  warm.stateNow = { id: 'a', last: WARM_REPORT };
  const { parts } = stepwise(() => undefined, []);
  t.deepEqual(await run(['a', 'b:1'], { parts }), { code: 1, stdout: TABLE, stderr: '' });
  const json = await run(
    ['a', '--platforms', 'linux/amd64, linux/arm64', '--deadline', '5m', '--json'],
    { parts },
  );
  t.deepEqual([json.code, JSON.parse(json.stdout)], [1, WARM_REPORT]);
  const [ready] = WARM_REPORT.images;
  warm.stateNow = { id: 'a', last: { ...WARM_REPORT, isOk: true, images: [ready!] } };
  t.is((await run(['a'], { parts })).code, 0);
  t.deepEqual(
    warm.calls.filter(([call]) => call === 'begin').map(([, wish]) => wish),
    [
      { images: ['a', 'b:1'], platforms: 'all', deadlineMs: 600_000 },
      { images: ['a'], platforms: ['linux/amd64', 'linux/arm64'], deadlineMs: 300_000 },
      { images: ['a'], platforms: 'all', deadlineMs: 600_000 },
    ],
  );
});

test('on a terminal a line says how far it is, and none with --json', async (t) => {
  const { warm, run } = await startFake(t);
  const running = { id: 'a', running: WARM_PROGRESS };
  for (const flag of [[], ['--json']]) {
    const { parts } = stepwise(
      (state) => {
        warm.stateNow = 'id' in state ? (state as WarmState) : { id: 'a', last: WARM_REPORT };
      },
      [running, running],
    );
    const { stderr } = await run(['a', ...flag], { parts, isTTY: true, columns: 100 });
    const told = '] 1 of 3 images, 10.0 MiB of 50.0 MiB, 5.00 MiB/s, 8s left';
    t.is(stderr.includes(told), flag.length === 0);
  }
});

test('what is wrong is said with what to do next', async (t) => {
  const { warm, run } = await startFake(t);
  const refused = (code: number, reason: string) => ({
    code,
    stdout: '',
    stderr: `entrepot: ${reason}\n`,
  });
  t.deepEqual(
    await run(['a', '--deadline', '2h']),
    refused(64, '"deadline" must be from 1s to 1h, not 2h'),
  );
  warm.fault = new RegistryError('UNSUPPORTED', { status: 409, message: 'it is offline' });
  t.deepEqual(await run(['a']), refused(1, 'it is offline'));
  const json = await run(['a', '--json']);
  t.deepEqual([json.code, JSON.parse(json.stderr)], [1, { error: 'it is offline' }]);
});

for (const isServed of [true, false]) {
  const how = isServed ? 'of a running server' : 'that no server has open';
  test(`a store ${how}: warm fetches an image, which ls then shows as complete`, async (t) => {
    const { registry, mirror, run } = await startLiveStore(t);
    registry.addImage('org/new', 'v1', buildImage({ seed: 'new', layers: [40_000, 10] }));
    if (!isServed) await mirror.stop();
    const { code, stdout } = await run('warm', 'org/new:v1');
    t.is(code, 0);
    t.regex(stdout, /^1 of 1 image ready after 1s\n\n.*\nhub\.example\/org\/new:v1 {2}ready /);
    t.regex((await run('ls', '*/org/new')).stdout, / complete$/m);
    const failed = await run('warm', 'org/new:v1', 'org/new:v2');
    t.is(failed.code, 1);
    t.regex(failed.stdout, /v2 {2}failed +0 B +the upstream has no such tag$/m);
    t.regex((await run('warm', 'ghcr.io/a:1')).stderr, /"ghcr\.io" is not an upstream/);
  });
}
