/** A mirror that closes waits for nothing that an upstream owes it. */
import test from 'ava';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
import { get } from '../helpers/client.ts';
import { Gate } from '../helpers/gate.ts';
import { REPOSITORY, startScene, type SceneOptions } from '../helpers/scene.ts';

const USER = { username: 'robot', password: 'pass:word' };
const always = { times: Infinity };
/** No limit of time ends what is asked. */
const NEVER = {
  headersMs: 3_600_000,
  firstByteMs: 3_600_000,
  exchangeMs: 3_600_000,
  discardMs: 3_600_000,
  stallMs: 3_600_000,
  probeMs: 3_600_000,
};

interface Case extends SceneOptions {
  readonly path: string;
  readonly strike: (registry: FakeRegistry) => Gate;
}

const WITH_LOGIN: SceneOptions = {
  registry: { auth: { kind: 'bearer', ...USER } },
  upstream: { credentials: USER },
};
const MANIFEST = `/v2/${REPOSITORY}/manifests/latest`;

const CASES: Record<string, Case> = {
  'the headers of a manifest': { path: MANIFEST, strike: (registry) => registry.hang(/manifests/) },
  'the body of a manifest': { path: MANIFEST, strike: (registry) => registry.stall(/manifests/) },
  'the body of a 404': {
    path: `/v2/${REPOSITORY}/blobs/sha256:${'0'.repeat(64)}`,
    strike: (registry) => {
      const gate = new Gate();
      registry.status(/blobs/, 404, { ...always, gate });
      return gate;
    },
  },
  'a token': { ...WITH_LOGIN, path: MANIFEST, strike: (registry) => registry.hang('/token') },
  'the body of a token': {
    ...WITH_LOGIN,
    path: MANIFEST,
    strike: (registry) => registry.stall('/token'),
  },
  'a list of tags': {
    path: `/v2/${REPOSITORY}/tags/list`,
    strike: (registry) => registry.hang(/tags/),
  },
};

for (const [claim, { path, strike, ...options }] of Object.entries(CASES)) {
  test(`closing does not wait for ${claim}`, async (t) => {
    const { registry, mirror, ask } = await startScene(t, { ...options, timing: NEVER });
    const gate = strike(registry);
    const answering = ask(path).catch((error: unknown) => error);
    await gate.arrived();
    await mirror.abandon();
    t.false(gate.isOpen);
    await answering;
  });
}

test('closing does not wait for our own question whether the upstream is there', async (t) => {
  const { registry, mirror } = await startScene(t, { timing: { ...NEVER, attemptsMs: 0 } });
  const gate = registry.hold('/v2/', { before: 'headers' });
  registry.cut(/team/, { ...always, after: 'request' });
  for (const name of ['one', 'two', 'three']) {
    await get(`${mirror.url}/v2/team/${name}/manifests/latest`);
  }
  await gate.arrived();
  await mirror.abandon();
  t.false(gate.isOpen);
  t.false(mirror.log.some(({ msg }) => msg === 'the upstream is down'));
});
