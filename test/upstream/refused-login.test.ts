import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import type { ServerStatus, UpstreamStatus } from '../../src/api/status-api.ts';
import type { AuthOptions } from '../helpers/fake-token-server.ts';
import { get } from '../helpers/client.ts';
import type { TestMirror } from '../helpers/mirror.ts';
import { UPSTREAM, startScene } from '../helpers/scene.ts';
import { runStoreCommand } from '../cli/run-store-command.ts';
import { rule, syncConfig } from '../sync/rules.ts';

const REFUSED = 'the upstream refuses the login of an account';
const TAKEN = 'the upstream takes the login of the account again';

async function statusOf({ server }: TestMirror): Promise<UpstreamStatus | undefined> {
  const { body } = await get(`${server.adminUrl}/api/v1/status`);
  return (JSON.parse(body.toString()) as ServerStatus).upstreams[0];
}

async function metricsOf({ server }: TestMirror): Promise<(number | undefined)[]> {
  const { upstreamUp, upstreamRefusedAccounts } = server.metrics;
  await server.metrics.expose();
  const [up, refused] = await Promise.all([upstreamUp.get(), upstreamRefusedAccounts.get()]);
  return [up.values[0]?.value, refused.values[0]?.value];
}

for (const [kind, saysOf] of [
  ['basic', (host: string) => `${host} refused access with the configured credentials (401)`],
  [
    'bearer',
    (host: string) =>
      `the token service ${host} answered 401 to the configured credentials: UNAUTHORIZED: unauthorized`,
  ],
] as const) {
  test(`a wrong password shows in status, metrics and one warning, until it is taken again: ${kind}`, async (t) => {
    const auth: { -readonly [Key in keyof AuthOptions]: AuthOptions[Key] } = {
      kind,
      username: 'robot',
      password: 'of-today',
    };
    const { registry, mirror, manifest, clock } = await startScene(t, {
      registry: { auth },
      upstream: {
        credentials: { username: 'robot', password: 'of-yesterday' },
        hydrate: 'off',
      },
    });
    t.is((await manifest('latest')).status, 403);
    t.is((await manifest('latest')).status, 403);
    const reason = saysOf(registry.host);
    const refused = { since: clock.now(), reason };
    const status = { name: UPSTREAM, state: 'up', accounts: [{ account: 'robot', refused }] };
    t.deepEqual(await statusOf(mirror), status as UpstreamStatus);
    t.deepEqual(await metricsOf(mirror), [1, 1]);
    auth.password = 'of-yesterday';
    t.is((await manifest('latest')).status, 200);
    t.deepEqual((await statusOf(mirror))?.accounts, [{ account: 'robot' }]);
    t.deepEqual(await metricsOf(mirror), [1, 0]);
    t.deepEqual(
      mirror.log
        .filter(({ msg }) => msg === REFUSED || msg === TAKEN)
        .map(({ level, upstream, account, reason: why, msg }) => [
          level,
          upstream,
          account,
          why,
          msg,
        ]),
      [
        ['warn', UPSTREAM, 'robot', reason, REFUSED],
        ['info', UPSTREAM, 'robot', undefined, TAKEN],
      ],
    );
  });
}

test('a repository that an account may not see is no word about its login', async (t) => {
  const { registry, mirror, ask } = await startScene(t, {
    registry: {
      auth: { kind: 'bearer', username: 'robot', password: 'right', private: ['library/app'] },
    },
    upstream: { credentials: { username: 'robot', password: 'right' } },
  });
  registry.status('/v2/library/other/manifests/latest', 401, { times: Infinity });
  t.is((await ask('/v2/library/other/manifests/latest')).status, 403);
  t.deepEqual((await statusOf(mirror))?.accounts, [{ account: 'robot' }]);
  t.deepEqual(await metricsOf(mirror), [1, undefined]);
});

test('an upstream that was never asked is not up: its state is unknown and its metric absent until it answers', async (t) => {
  const { mirror, manifest } = await startScene(t, { upstream: { hydrate: 'off' } });
  t.deepEqual(await statusOf(mirror), {
    name: UPSTREAM,
    state: 'unknown',
    accounts: [{ account: 'anonymous' }],
  });
  t.deepEqual(await metricsOf(mirror), [undefined, undefined]);
  t.is((await manifest('latest')).status, 200);
  t.is((await statusOf(mirror))?.state, 'up');
  t.deepEqual(await metricsOf(mirror), [1, undefined]);
});

test('a wrong password that only sync meets shows in status, metrics and one warning too', async (t) => {
  const auth = { kind: 'bearer', username: 'robot', password: 'of-today' } as const;
  const { mirror, registry } = await startScene(t, {
    registry: { auth },
    upstream: { credentials: { username: 'robot', password: 'of-yesterday' } },
    sync: syncConfig([rule('library/app', { tags: { names: ['latest'] } })]),
  });
  const admin = new URL(mirror.server.adminUrl).host;
  const parts = { pause: async () => setImmediate() };
  const run = await runStoreCommand(t, ['sync', 'run'], { admin, parts });
  t.is(run.code, 1);
  const said = `the token service ${registry.host} answered 401 to the configured credentials`;
  t.true(run.stdout.includes(said), run.stdout);
  const { stdout } = await runStoreCommand(t, ['status'], { admin });
  t.regex(stdout, /^hub\.example +robot +login refused since \S+Z: the token service .* up$/m);
  t.deepEqual(await metricsOf(mirror), [1, 1]);
  t.is(mirror.log.filter(({ msg }) => msg === REFUSED).length, 1);
});
