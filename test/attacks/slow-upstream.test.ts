/** An upstream, or one path of it, that lets clients wait: held tags pay for it once, and none is frozen. */
import test from 'ava';
import type { ServerStatus, UpstreamStatus } from '../../src/api/status-api.ts';
import { get } from '../helpers/client.ts';
import { buildImage } from '../helpers/image.ts';
import type { TestMirror } from '../helpers/mirror.ts';
import { REPOSITORY, staleWarning, startScene, told, UPSTREAM } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';

const always = { times: Infinity };
const WAITED = `${UPSTREAM}: no answer within 400 ms`;

async function stateOf({ server }: TestMirror): Promise<UpstreamStatus['state'] | undefined> {
  const { body } = await get(`${server.adminUrl}/api/v1/status`);
  return (JSON.parse(body.toString()) as ServerStatus).upstreams[0]?.state;
}

test('the first held tag that waits in vain makes the upstream suspect, and no other one waits', async (t) => {
  const { registry, image, mirror, manifest } = await startScene(t, {
    tags: { revalidateTimeoutMs: 400 },
    timing: { probeMs: 60_000 },
  });
  const others = Array.from({ length: 20 }, (_, number) => `v${number}`);
  for (const tag of others) registry.tag(REPOSITORY, tag, image.manifest);
  for (const tag of ['latest', ...others]) t.is((await manifest(tag)).status, 200);
  const gate = registry.hang(/./, always);
  t.is((await manifest('latest')).headers['warning'], staleWarning(WAITED));
  t.is(await stateOf(mirror), 'suspect');
  for (const tag of others) {
    const answer = await manifest(tag, { method: tag === 'v1' ? 'HEAD' : 'GET' });
    t.deepEqual(told(answer), {
      status: 200,
      cache: 'entrepot; hit; detail=stale',
      age: '0',
      warning: staleWarning(WAITED),
    });
    // All of them are asked about behind their clients, as one question each.
    t.is(await stateOf(mirror), 'suspect');
  }
  gate.open();
  await until('the probe passes', async () => (await stateOf(mirror)) === 'up');
  // On a busy machine one may be late again, and is revalidated all the same.
  for (const tag of others) {
    await until(`${tag} is revalidated`, async () => !(await manifest(tag)).headers['warning']);
  }
});

test('a held tag whose path never answers stops no other tag from being revalidated', async (t) => {
  const { registry, image, mirror, ask, manifest } = await startScene(t, {
    tags: { revalidateTimeoutMs: 400 },
  });
  registry.addImage('library/slow', 'latest', image);
  const slow = '/v2/library/slow/manifests/latest';
  for (const path of [slow, `/v2/${REPOSITORY}/manifests/latest`]) await ask(path);
  const gate = registry.hang(slow, always);
  for (const round of [1, 2, 3]) {
    const fixed = buildImage({ seed: `fixed ${round}`, layers: [10] });
    registry.addImage(REPOSITORY, 'latest', fixed);
    const [answer] = await Promise.all([ask(slow), ask(slow, { method: 'HEAD' })]);
    t.is(answer.headers['warning'], staleWarning(WAITED));
    await until('the probe passes', async () => (await stateOf(mirror)) === 'up');
    await until('the other tag is revalidated', async () => {
      const { headers } = await manifest('latest');
      return headers['docker-content-digest'] === fixed.manifest.digest;
    });
  }
  gate.open();
});
