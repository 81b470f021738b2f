import { countDials, NO_DIALS } from './dials.ts';
import { OTHER_REGISTRY } from './images.ts';
import type { Reply } from './mirror.ts';
import { Skopeo } from './skopeo.ts';
import { suite } from './suite.ts';
import { startWorld } from './world.ts';

const run = suite('offline');

const DIGEST = `sha256:${'0'.repeat(64)}`;

const HELD = ['HEAD /v2/library/app/manifests/1', 'GET /v2/library/app/manifests/1'];

/** Of two registries that are there and two beyond the namespace. */
const NOT_HELD = [
  'GET /v2/library/app/manifests/2',
  'HEAD /v2/library/app/manifests/2',
  `GET /v2/library/app/manifests/${DIGEST}`,
  `HEAD /v2/library/app/manifests/${DIGEST}`,
  `GET /v2/library/app/blobs/${DIGEST}`,
  `HEAD /v2/library/app/blobs/${DIGEST}`,
  `GET /v2/library/app/manifests/1?ns=${OTHER_REGISTRY}`,
  'GET /v2/org/app/manifests/1?ns=ghcr.io',
  'GET /v2/quay.io/org/app/manifests/1',
];

const LISTS = [
  'GET /v2/library/app/tags/list',
  'GET /v2/nothing/here/tags/list',
  `GET /v2/library/app/referrers/${DIGEST}`,
  'GET /v2/quay.io/org/app/tags/list',
];

run('offline: true opens no socket, whatever is asked for', async (t) => {
  const world = await startWorld(t);
  const { images, mirror, netns } = world;
  const upstreams = { ...world.settings.upstreams, 'ghcr.io': {}, 'quay.io': {} };
  const skopeo = await Skopeo.create(netns, mirror.url);
  await skopeo.pull(images.oci.byTag);

  const held: Reply[] = [];
  const notHeld: Reply[] = [];
  const dials = await countDials(world, async () => {
    await mirror.restart({ upstreams, offline: true }, 'SIGTERM');
    held.push(...(await mirror.ask(...HELD)));
    notHeld.push(...(await mirror.ask(...NOT_HELD)));
    await mirror.ask(...LISTS);
    await mirror.restart({ upstreams, offline: true }, 'SIGKILL');
    held.push(...(await mirror.ask(...HELD)));
  });
  t.deepEqual(dials, NO_DIALS);
  t.deepEqual(new Set(held.map(({ status }) => status)), new Set([200]));
  t.deepEqual(new Set(notHeld.map(({ status }) => status)), new Set([504]));

  await mirror.restart({ upstreams }, 'SIGTERM');
  const online = await countDials(world, async () => {
    await mirror.ask(...NOT_HELD);
  });
  t.true(online.toRegistries > 0, 'the same questions are seen when they are passed on');
  t.true(online.outside > 0, 'and so is the search for what is beyond the namespace');
});

run('what is not configured is never dialled, not even where it would answer', async (t) => {
  const world = await startWorld(t);
  const { mirror, origin, otherOrigin } = world;
  const addresses = [origin, otherOrigin].map(({ url }) => new URL(url).host);

  const replies: Reply[] = [];
  const dials = await countDials(world, async () => {
    for (const address of [...addresses, 'unknown.test', 'localhost:5000', '127.0.0.1']) {
      const names = [
        `library/app/manifests/1?ns=${address}`,
        `library/app/tags/list?ns=${address}`,
      ];
      replies.push(...(await mirror.ask(...names.map((name) => `GET /v2/${name}`))));
    }
  });
  t.deepEqual(dials, NO_DIALS);
  t.deepEqual(new Set(replies.map(({ status }) => status)), new Set([404]));
  t.true(replies.every(({ body }) => body.includes('NAME_UNKNOWN')));
});

run('with no network at all the mirror starts on its defaults and tells the truth', async (t) => {
  const { mirror } = await startWorld(t);
  await mirror.restart({}, 'SIGTERM');

  const [ping, manifest, blob] = await mirror.ask(
    'GET /v2/',
    'GET /v2/library/app/manifests/1',
    `GET /v2/ghcr.io/org/app/blobs/${DIGEST}`,
  );
  t.is(ping!.status, 200);
  for (const { status, body } of [manifest!, blob!]) {
    t.is(status, 502);
    t.regex(body, /UNAVAILABLE.*(docker|ghcr)\.io/);
  }
});
