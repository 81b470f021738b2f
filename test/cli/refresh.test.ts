import test from 'ava';
import type { RefreshReport } from '../../src/api/store-api.ts';
import { buildImage } from '../helpers/image.ts';
import { startLiveStore, WORLD } from './live-store.ts';

const OLD = 'hub.example/org/old';
const IMAGE = `${OLD}:v1`;
const { old } = WORLD;
const moved = buildImage({ seed: 'moved', layers: [500] });
const HEAD = 'HEAD /v2/org/old/manifests/v1';

for (const isServed of [true, false]) {
  const how = isServed ? 'of a running server' : 'that no server has open';
  test(`a store ${how}: refresh says that a tag is unchanged, has moved, or is gone`, async (t) => {
    const { run, registry } = await startLiveStore(t, { isServed });
    // After a month what a HEAD says is once compared with a GET.
    await run('refresh', 'org/old:v1');
    registry.clear();
    t.deepEqual(await run('refresh', 'org/old:v1'), {
      code: 0,
      stdout: `${IMAGE} is unchanged: ${old.manifest.digest}\n`,
      stderr: '',
    });
    t.deepEqual(registry.conversation(), [HEAD]);
    registry.addImage('org/old', 'v1', moved, { name: 'moved' });
    const { stdout } = await run('refresh', 'org/old:v1', '--json');
    t.deepEqual(JSON.parse(stdout), {
      image: IMAGE,
      state: 'moved',
      digest: moved.manifest.digest,
      before: old.manifest.digest,
    } satisfies RefreshReport);
    t.deepEqual(registry.conversation().slice(1), [HEAD, `GET /v2/org/old/manifests/<moved>`]);
    const explained = await run('explain', IMAGE);
    t.true(explained.stdout.includes(moved.manifest.digest), explained.stdout);
    registry.untag('org/old', 'v1');
    t.deepEqual(await run('refresh', 'org/old:v1'), {
      code: 1,
      stdout: `${IMAGE} is gone: the upstream has it no more, and it is not served any longer\n`,
      stderr: '',
    });
  });
}

test('refresh of what is not held asks by HEAD alone, and says what fetches it', async (t) => {
  const { run, registry } = await startLiveStore(t);
  registry.addImage('org/old', 'v2', moved);
  registry.clear();
  t.deepEqual(await run('refresh', 'org/old:v2'), {
    code: 0,
    stdout: `${OLD}:v2 is ${moved.manifest.digest} and not held; "entrepot warm ${OLD}:v2" fetches it now\n`,
    stderr: '',
  });
  t.deepEqual(registry.conversation(), ['HEAD /v2/org/old/manifests/v2']);
  t.deepEqual(await run('refresh', 'org/old:none'), {
    code: 1,
    stdout: `${OLD}:none is not there: the upstream has no such tag\n`,
    stderr: '',
  });
});

test('refresh of a pinned tag that is gone says that it is served all the same', async (t) => {
  const { run, registry } = await startLiveStore(t);
  await run('pin', IMAGE);
  registry.untag('org/old', 'v1');
  t.deepEqual(await run('refresh', IMAGE), {
    code: 1,
    stdout: `${IMAGE} is gone: the upstream has it no more; a pin keeps it, and it is served as before\n`,
    stderr: '',
  });
});

test('where the upstream cannot be asked refresh fails with the cause, and what is held stays', async (t) => {
  const { run, registry } = await startLiveStore(t);
  await registry.refuse();
  const { code, stdout, stderr } = await run('refresh', IMAGE);
  t.deepEqual({ code, stdout }, { code: 1, stdout: '' });
  t.regex(
    stderr,
    /^entrepot: hub\.example\/org\/old:v1 could not be asked about: hub\.example: .*ECONNREFUSED.*; what is held stays as it is\n$/,
  );
  t.is((await run('explain', IMAGE)).code, 0);
});

test('refresh is about a tag: a digest, a pattern and an unknown registry are refused', async (t) => {
  const { run, registry } = await startLiveStore(t);
  registry.clear();
  for (const image of [`${OLD}@${old.manifest.digest}`, `${OLD}:*`]) {
    const { code, stderr } = await run('refresh', image);
    t.is(code, 64);
    t.regex(stderr, /names no tag: write one/);
  }
  t.is((await run('refresh', 'other.example/app:v1')).code, 1);
  t.deepEqual(registry.conversation(), []);
});
