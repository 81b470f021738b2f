import { setImmediate } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { HydrateMode } from '../../src/config/config.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry, type FakeRegistryOptions } from '../helpers/fake-registry.ts';
import {
  buildArtifact,
  buildImage,
  descriptorOf,
  fallbackIndex,
  fallbackTag,
  MEDIA_TYPES,
  storeJson,
  type Image,
  type Stored,
} from '../helpers/image.ts';
import { createTempFolder, startMirror, type MirrorOptions } from '../helpers/mirror.ts';
import { until } from '../helpers/until.ts';

const REPOSITORY = 'org/app';
const AMD64 = { os: 'linux', architecture: 'amd64' };
const ARM64 = { os: 'linux', architecture: 'arm64' };
const UNKNOWN = { os: 'unknown', architecture: 'unknown' };

const amd64 = buildImage({ seed: 'amd64', layers: [1000, 2000], platform: AMD64 });
const arm64 = buildImage({ seed: 'arm64', layers: [3000], platform: ARM64 });
const provenance = buildArtifact({ seed: 'amd64', artifactType: 'application/vnd.in-toto+json' });
const foreign = buildArtifact({ seed: 'arm64', artifactType: 'application/vnd.in-toto+json' });

/** An index of two platforms as BuildKit writes it, with an attestation of each. */
const index = storeJson(
  {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.index,
    manifests: [
      { ...descriptorOf(amd64.manifest), platform: AMD64 },
      { ...descriptorOf(arm64.manifest), platform: ARM64 },
      attestationOf(provenance, amd64),
      attestationOf(foreign, arm64),
    ],
  },
  MEDIA_TYPES.index,
);

function attestationOf(attestation: Image, subject: Image): object {
  return {
    ...descriptorOf(attestation.manifest),
    platform: UNKNOWN,
    annotations: {
      'vnd.docker.reference.type': 'attestation-manifest',
      'vnd.docker.reference.digest': subject.manifest.digest,
    },
  };
}

async function startRegistry(
  t: ExecutionContext,
  options: FakeRegistryOptions = {},
): Promise<FakeRegistry> {
  const registry = await FakeRegistry.start(t, options);
  registry.addImage(REPOSITORY, undefined, amd64, { name: 'amd64' });
  registry.addImage(REPOSITORY, undefined, arm64, { name: 'arm64' });
  registry.addImage(REPOSITORY, undefined, provenance, { name: 'provenance' });
  registry.addImage(REPOSITORY, undefined, foreign, { name: 'foreign' });
  registry.addManifest(REPOSITORY, index, { name: 'index', tags: ['v1'] });
  // All artifacts share it.
  registry.name(provenance.config, 'empty');
  return registry;
}

type Options = Omit<MirrorOptions, 'upstreams'> & { hydrate?: HydrateMode; concurrency?: number };

async function start(t: ExecutionContext, registry: FakeRegistry, options: Options = {}) {
  const { hydrate = 'blob', concurrency = 8, ...rest } = options;
  const mirror = await startMirror(t, {
    ...rest,
    upstreams: { 'hub.example': { url: registry.url, hydrate, concurrency } },
  });
  const pull = async (kind: 'manifests' | 'blobs', what: string | Stored) => {
    const reference = typeof what === 'string' ? what : what.digest;
    const { status, body } = await get(`${mirror.url}/v2/${REPOSITORY}/${kind}/${reference}`);
    t.is(status, 200);
    return body;
  };
  const explain = async (reference = 'v1'): Promise<Explained> => {
    const image = encodeURIComponent(`hub.example/${REPOSITORY}:${reference}`);
    const answer = await get(`${mirror.server.adminUrl}/api/v1/explain?image=${image}`);
    if (answer.status !== 200) throw new Error(answer.body.toString());
    return JSON.parse(answer.body.toString()) as Explained;
  };
  const settled = async (): Promise<void> => {
    const isDone = (): boolean => mirror.server.hydrations() === 0;
    // A thousand questions take their time on a busy machine.
    await until('nothing is due', isDone, { withinMs: 200_000 });
  };
  return { mirror, pull, explain, settled };
}

interface Explained {
  readonly state: string;
  readonly missingBytes: number;
  readonly bytes: number;
  readonly manifests: readonly {
    readonly digest: string;
    readonly role: string;
    readonly isHeld: boolean;
    readonly isWanted: boolean;
    readonly missing: readonly unknown[];
  }[];
}

/** What is held of each manifest, in a word. */
function statesOf({ manifests }: Explained): Record<string, string> {
  const names = new Map(
    Object.entries({ index, amd64, arm64, provenance, foreign, signature, countersignature }).map(
      ([name, content]) => ['manifest' in content ? content.manifest.digest : content.digest, name],
    ),
  );
  return Object.fromEntries(
    manifests.map(({ digest, role, isHeld, isWanted, missing }) => {
      const state = isHeld ? 'held' : isWanted ? 'wanted' : 'not wanted';
      return [names.get(digest) ?? digest, `${role}, ${state}, ${missing.length} missing`];
    }),
  );
}

const signature = buildArtifact({
  seed: 'signature',
  artifactType: 'application/vnd.example.signature',
  subject: amd64.manifest,
});
const countersignature = buildArtifact({
  seed: 'countersignature',
  artifactType: 'application/vnd.example.signature',
  subject: signature.manifest,
});

const path = (rest: string): string => `/v2/${REPOSITORY}/${rest}`;
/** All that is asked about what may belong to a manifest. */
const listing = (name: string): string[] => [
  `GET ${path(`referrers/<${name}>`)}`,
  `HEAD ${path(`manifests/<sha256-${name}>`)}`,
];
const cosign = (name: string): string[] =>
  ['.sig', '.att', '.sbom'].map((suffix) => `HEAD ${path(`manifests/<sha256-${name}>${suffix}`)}`);
const manifest = (name: string): string => `GET ${path(`manifests/<${name}>`)}`;
const blob = (name: string): string => `GET ${path(`blobs/<${name}>`)}`;

/** Requests to the upstream until these and no others were made, in no order. */
async function converse(t: ExecutionContext, registry: FakeRegistry, expected: readonly string[]) {
  await until('hydration', () => registry.requests.length >= expected.length);
  t.deepEqual(registry.conversation().toSorted(), expected.toSorted());
}

/** Index, platform and one layer: what a client asks for that has the rest from elsewhere. */
async function pullInPart({ pull }: Pick<Awaited<ReturnType<typeof start>>, 'pull'>) {
  await pull('manifests', 'v1');
  await pull('manifests', amd64.manifest);
  await pull('blobs', amd64.layer(0));
}
const IN_PART = [`HEAD ${path('manifests/v1')}`, manifest('index'), manifest('amd64')];
const PULLED = [...IN_PART, blob('amd64.layer0')];
const COMPLETED = [
  ...cosign('index'),
  ...listing('index'),
  ...cosign('amd64'),
  ...listing('amd64'),
  blob('amd64.config'),
  blob('amd64.layer1'),
  manifest('provenance'),
  blob('empty'),
  blob('provenance.layer0'),
  ...listing('provenance'),
];
const size = (...blobs: readonly Stored[]): number =>
  blobs.reduce((sum, each) => sum + each.size, 0);

test('what a client pulled in part is completed: its platform with its attestation, and no other', async (t) => {
  const registry = await startRegistry(t);
  const { mirror, explain, ...client } = await start(t, registry);
  await pullInPart(client);
  await converse(t, registry, [...PULLED, ...COMPLETED]);
  await until('hydration', async () => (await explain()).state === 'complete');
  const done = await explain();
  t.deepEqual(statesOf(done), {
    index: 'root, held, 0 missing',
    amd64: 'platform, held, 0 missing',
    arm64: 'platform, not wanted, 0 missing',
    provenance: 'attestation, held, 0 missing',
  });
  const held = [index, amd64.manifest, provenance.manifest, ...amd64.blobs, ...provenance.blobs];
  t.deepEqual(
    { bytes: done.bytes, missingBytes: done.missingBytes },
    { bytes: size(...held), missingBytes: 0 },
  );
  // What is complete is served without the upstream.
  await registry.refuse();
  for (const each of amd64.blobs) t.deepEqual(await client.pull('blobs', each), each.bytes);
  await mirror.stop();
});

test('without hydration an image stays partial, and says how much is missing', async (t) => {
  const registry = await startRegistry(t);
  const { mirror, explain, ...client } = await start(t, registry, {
    hydrate: 'off',
    timing: { hydrateMs: 0 },
  });
  await pullInPart(client);
  await mirror.idle();
  const partial = await explain();
  t.deepEqual(statesOf(partial), {
    index: 'root, held, 0 missing',
    amd64: 'platform, held, 2 missing',
    arm64: 'platform, not wanted, 0 missing',
    provenance: 'attestation, wanted, 1 missing',
  });
  t.deepEqual(
    { state: partial.state, bytes: partial.bytes, missingBytes: partial.missingBytes },
    {
      state: 'partial',
      bytes: size(index, amd64.manifest, amd64.layer(0)),
      missingBytes: size(amd64.config, amd64.layer(1), provenance.manifest),
    },
  );
  await client.pull('manifests', 'v1');
  t.deepEqual(registry.conversation(), [...PULLED, `HEAD ${path('manifests/v1')}`]);
});

test('of an index alone nobody knows the platform: it is partial, and nothing is fetched for it', async (t) => {
  const registry = await startRegistry(t);
  const { explain, pull, settled } = await start(t, registry);
  await pull('manifests', 'v1');
  await settled();
  t.deepEqual(registry.conversation(), [`HEAD ${path('manifests/v1')}`, manifest('index')]);
  const report = await explain();
  t.deepEqual(statesOf(report), {
    index: 'root, held, 0 missing',
    amd64: 'platform, wanted, 1 missing',
    arm64: 'platform, wanted, 1 missing',
  });
  t.is(report.missingBytes, size(amd64.manifest, arm64.manifest));
});

test('a layer that no registry serves is not missing', async (t) => {
  const registry = await startRegistry(t);
  const { config } = amd64;
  const windows = storeJson(
    {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.manifest,
      config: descriptorOf(config),
      layers: [
        {
          mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
          digest: arm64.layer(0).digest,
          size: 4_000_000_000,
        },
      ],
    },
    MEDIA_TYPES.manifest,
  );
  registry.addManifest(REPOSITORY, windows, { name: 'windows', tags: ['windows'] });
  const { explain, pull } = await start(t, registry);
  await pull('manifests', 'windows');
  await pull('blobs', amd64.config);
  await converse(t, registry, [
    `HEAD ${path('manifests/windows')}`,
    manifest('windows'),
    ...cosign('windows'),
    ...listing('windows'),
    blob('amd64.config'),
  ]);
  await until('hydration', async () => (await explain('windows')).state === 'complete');
  t.is((await explain('windows')).bytes, size(windows, config));
});

for (const referrers of ['api', 'none'] as const) {
  test(`signatures of signatures come with it, referrers by ${referrers === 'api' ? 'the API' : 'the fallback tag'}`, async (t) => {
    const registry = await startRegistry(t, { referrers });
    for (const [name, artifact, subject] of [
      ['signature', signature, amd64],
      ['countersignature', countersignature, signature],
    ] as const) {
      registry.addImage(REPOSITORY, undefined, artifact, { name });
      if (referrers === 'api') continue;
      const tags = [fallbackTag(subject.manifest.digest)];
      registry.addManifest(REPOSITORY, fallbackIndex([artifact]), { tags });
    }
    registry.name(provenance.config, 'empty');
    const { pull } = await start(t, registry);
    await pull('manifests', amd64.manifest);
    await pull('blobs', amd64.config);
    const isFallback = referrers === 'none';
    const chain = ['amd64', 'signature', 'countersignature'];
    await converse(t, registry, [
      manifest('amd64'),
      ...cosign('amd64'),
      blob('amd64.config'),
      blob('amd64.layer0'),
      blob('amd64.layer1'),
      blob('empty'),
      manifest('signature'),
      blob('signature.layer0'),
      manifest('countersignature'),
      blob('countersignature.layer0'),
      // That there is no API is learnt once.
      ...chain.flatMap((name) =>
        isFallback && name !== 'amd64' ? listing(name).slice(1) : listing(name),
      ),
      ...(isFallback ? [manifest('sha256-amd64'), manifest('sha256-signature')] : []),
    ]);
  });
}

test("cosign's tags come with it, and a tag that moved is followed", async (t) => {
  const registry = await startRegistry(t);
  const tagged = ['.sig', '.att', '.sbom'].map((suffix) => {
    const image = buildImage({ seed: suffix, layers: [50] });
    const tag = `${fallbackTag(amd64.manifest.digest)}${suffix}`;
    registry.addImage(REPOSITORY, tag, image, { name: suffix });
    return image;
  });
  const names = ['.sig', '.att', '.sbom'];
  const storePath = await createTempFolder(t);
  const first = await start(t, registry, { storePath });
  await first.pull('manifests', amd64.manifest);
  await first.pull('blobs', amd64.config);
  await converse(t, registry, [
    manifest('amd64'),
    ...cosign('amd64'),
    ...listing('amd64'),
    ...amd64.blobs.map((_, position) =>
      blob(['amd64.config', 'amd64.layer0', 'amd64.layer1'][position]!),
    ),
    ...names.flatMap((name) => [
      manifest(name),
      blob(`${name}.config`),
      blob(`${name}.layer0`),
      ...listing(name),
    ]),
  ]);
  await first.mirror.idle();
  for (const image of tagged) {
    const held = await first.mirror.server.blobs.find(parseDigest(image.layer(0).digest));
    t.is(held?.size, 50);
  }
  await first.mirror.stop();
  registry.clear();
  const moved = buildImage({ seed: 'another', layers: [60] });
  registry.addImage(REPOSITORY, `${fallbackTag(amd64.manifest.digest)}.sig`, moved, {
    name: 'moved',
  });
  const second = await start(t, registry, { storePath });
  await second.pull('manifests', amd64.manifest);
  await converse(t, registry, [
    ...cosign('amd64'),
    ...listing('amd64'),
    manifest('moved'),
    blob('moved.config'),
    blob('moved.layer0'),
    ...listing('moved'),
    ...listing('.att'),
    ...listing('.sbom'),
  ]);
});

test('a pull does not wait behind what is fetched for nobody', async (t) => {
  const registry = await FakeRegistry.start(t);
  const big = 2 * 1024 * 1024;
  const [one, two, wanted] = ['one', 'two', 'wanted'].map((seed) => {
    const image = buildImage({ seed, layers: [big] });
    registry.addImage(REPOSITORY, seed, image, { name: seed });
    return image;
  }) as [Image, Image, Image];
  // Whichever comes first holds the only place; the other one stands in the queue.
  const gates = [one, two].map((image) => registry.hold(image.layer(0), { after: 1 }));
  const { mirror, pull } = await start(t, registry, { concurrency: 1 });
  await pull('manifests', 'one');
  await pull('manifests', 'two');
  for (const image of [one, two]) await pull('blobs', image.config);
  await Promise.all([registry.seen(one.layer(0)), registry.seen(two.layer(0))]);
  const pulling = pull('blobs', wanted.layer(0));
  await registry.seen(wanted.layer(0));
  gates[0]!.open();
  gates[1]!.open();
  t.deepEqual(await pulling, wanted.layer(0).bytes);
  for (const image of [one, two]) {
    const digest = parseDigest(image.layer(0).digest);
    await until('hydration', async () => (await mirror.server.blobs.find(digest)) !== undefined);
  }
});

test('offline nothing is completed, whatever hydrate says', async (t) => {
  const registry = await startRegistry(t);
  const storePath = await createTempFolder(t);
  const first = await start(t, registry, { storePath, hydrate: 'off' });
  await pullInPart(first);
  await first.mirror.stop();
  const { connections } = registry;
  const second = await start(t, registry, {
    storePath,
    offline: true,
    timing: { hydrateMs: 0 },
  });
  await second.pull('manifests', 'v1');
  await second.pull('manifests', amd64.manifest);
  t.is((await second.explain()).state, 'partial');
  await second.mirror.stop();
  t.is(registry.connections, connections);
});

test('after an outage it is tried again until it is complete', async (t) => {
  const registry = await startRegistry(t);
  const { mirror, explain, ...client } = await start(t, registry, {
    timing: { attemptsMs: 20, hydrateMs: 50 },
  });
  await client.pull('manifests', 'v1');
  await client.pull('manifests', amd64.manifest);
  await client.pull('blobs', amd64.config);
  await registry.refuse();
  await until('hydration', () => mirror.log.some(({ msg }) => msg === 'not completed yet'));
  t.is((await explain()).state, 'partial');
  await registry.accept();
  await until('hydration', async () => (await explain()).state === 'complete');
  const fetches = registry.conversation().filter((line) => /^GET .*(blobs|manifests)/.test(line));
  t.deepEqual(fetches.toSorted(), [...new Set(fetches)].toSorted(), 'nothing is fetched twice');
});

test('after a restart what an earlier process left in part is completed, and not fetched twice', async (t) => {
  const registry = await startRegistry(t);
  const storePath = await createTempFolder(t);
  const first = await start(t, registry, { storePath, hydrate: 'off' });
  await pullInPart(first);
  await first.mirror.stop();
  registry.clear();
  const second = await start(t, registry, { storePath });
  await converse(
    t,
    registry,
    COMPLETED.filter((line) => !line.includes('<index>') && !line.includes('<sha256-index>')),
  );
  await until('hydration', async () => (await second.explain()).state === 'complete');
});

test('an attestation alone that is missing is a reason to resume', async (t) => {
  const registry = await startRegistry(t);
  const storePath = await createTempFolder(t);
  const first = await start(t, registry, { storePath, hydrate: 'off' });
  await pullInPart(first);
  for (const each of amd64.blobs) await first.pull('blobs', each);
  await first.mirror.idle();
  const before = await first.explain();
  t.deepEqual(
    { state: before.state, missingBytes: before.missingBytes },
    { state: 'partial', missingBytes: provenance.manifest.size },
  );
  await first.mirror.stop();
  registry.clear();
  const second = await start(t, registry, { storePath });
  await until('hydration', async () => (await second.explain()).state === 'complete');
  t.false(registry.conversation().some((line) => line.includes('<amd64.')));
});

test('closing stops it in the middle of a layer, which the next process goes on with', async (t) => {
  const registry = await startRegistry(t);
  const storePath = await createTempFolder(t);
  const gate = registry.hold(amd64.layer(1), { after: 500 });
  const first = await start(t, registry, { storePath });
  await first.pull('manifests', amd64.manifest);
  await first.pull('blobs', amd64.config);
  await gate.arrived();
  await until('hydration', () => first.mirror.server.activity().downloads > 0);
  await first.mirror.abandon();
  const count = registry.requests.length;
  gate.open();
  await setImmediate();
  t.is(registry.requests.length, count);
  registry.clear();
  const second = await start(t, registry, { storePath });
  await until('hydration', () =>
    registry.conversation().some((line) => line.startsWith(blob('amd64.layer1'))),
  );
  const [line] = registry.conversation().filter((each) => each.startsWith(blob('amd64.layer1')));
  t.true([blob('amd64.layer1'), `${blob('amd64.layer1')} bytes=500-`].includes(line ?? ''), line);
  await until('hydration', async () => {
    const held = await second.mirror.server.blobs.find(parseDigest(amd64.layer(1).digest));
    return held !== undefined;
  });
});

// What was only looked at

/** Twenty images of one layer in common, and one of their own. */
function addMany(registry: FakeRegistry): Image[] {
  return Array.from({ length: 20 }, (_, number) => {
    const image = buildImage({ seed: number, layers: [100, 200 + number] });
    registry.addImage(REPOSITORY, `t${number}`, image, { name: `i${number}` });
    return image;
  });
}

const LOOK = { registry: { referrers: 'none' } } as const;

test('of images of which only the manifest was asked for nothing is fetched, also after a restart', async (t) => {
  const registry = await FakeRegistry.start(t, LOOK.registry);
  const images = addMany(registry);
  const storePath = await createTempFolder(t);
  const first = await start(t, registry, { storePath });
  for (const [number] of images.entries()) await first.pull('manifests', `t${number}`);
  for (const image of images) await first.pull('manifests', image.manifest);
  await first.settled();
  t.deepEqual(
    registry.conversation(),
    images.flatMap((_, number) => [`HEAD ${path(`manifests/t${number}`)}`, manifest(`i${number}`)]),
  );
  await first.mirror.stop();
  registry.clear();
  const second = await start(t, registry, { storePath });
  for (const image of images) await second.pull('manifests', image.manifest);
  await second.settled();
  t.deepEqual(registry.conversation(), []);
});

test('of images that share a layer the one whose config was asked for is completed, also after a restart', async (t) => {
  const registry = await FakeRegistry.start(t, LOOK.registry);
  const images = addMany(registry);
  const shared = storeJson({ shared: true }, 'application/octet-stream');
  registry.addBlob(REPOSITORY, shared, { name: 'shared' });
  const storePath = await createTempFolder(t);
  const first = await start(t, registry, { storePath, hydrate: 'off' });
  for (const image of images) await first.pull('manifests', image.manifest);
  const [, , wanted] = images;
  await first.pull('blobs', wanted!.config);
  await first.pull('blobs', wanted!.layer(0));
  await first.settled();
  await first.mirror.stop();
  registry.clear();
  const second = await start(t, registry, { storePath });
  const gotAway = (): boolean =>
    registry.conversation().some((line) => line.startsWith(blob('i2.layer1')));
  await until('hydration', gotAway);
  await second.settled();
  const blobs = registry.conversation().filter((line) => line.includes('/blobs/'));
  t.deepEqual(blobs, [blob('i2.layer1')]);
});

test('a HEAD of a blob is a look, and makes nothing follow', async (t) => {
  const registry = await startRegistry(t);
  const { mirror, pull, settled } = await start(t, registry);
  await pull('manifests', amd64.manifest);
  for (const each of amd64.blobs) {
    const url = `${mirror.url}/v2/${REPOSITORY}/blobs/${each.digest}`;
    t.is((await get(url, { method: 'HEAD' })).status, 200);
  }
  await settled();
  t.deepEqual(
    registry.conversation().filter((line) => line.startsWith('GET')),
    [manifest('amd64')],
  );
});

test('the blob of a signature does not bring the image that it is about', async (t) => {
  const registry = await startRegistry(t);
  registry.addImage(REPOSITORY, undefined, signature, { name: 'signature' });
  const { pull, settled } = await start(t, registry);
  await pull('manifests', 'v1');
  await pull('manifests', amd64.manifest);
  await pull('manifests', signature.manifest);
  await pull('blobs', signature.layer(0));
  await settled();
  t.false(registry.conversation().some((line) => line.includes('<amd64.')));
});

test('with head an image follows its manifest, as one that is only polled does', async (t) => {
  const registry = await startRegistry(t);
  const { pull, explain } = await start(t, registry, { hydrate: 'head' });
  await pull('manifests', 'v1');
  await pull('manifests', amd64.manifest);
  await until('hydration', async () => (await explain()).state === 'complete');
  t.true(registry.conversation().includes(blob('amd64.layer1')));
});

test('a manifest that lists thousands of layers that nobody has costs a thousand questions at most', async (t) => {
  const registry = await startRegistry(t);
  const layers = Array.from({ length: 1_500 }, (_, number) => ({
    mediaType: 'application/vnd.oci.image.layer.v1.tar',
    digest: `sha256:${number.toString(16).padStart(64, '0')}`,
    size: 1,
  }));
  const many = storeJson(
    {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.manifest,
      config: descriptorOf(amd64.config),
      layers,
    },
    MEDIA_TYPES.manifest,
  );
  registry.addManifest(REPOSITORY, many, { name: 'many', tags: ['many'] });
  const { pull, settled } = await start(t, registry);
  await pull('manifests', 'many');
  await pull('blobs', amd64.config);
  await settled();
  const asked = registry.conversation().filter((line) => line.includes('/blobs/')).length;
  t.true(asked > 990 && asked <= 1_000, String(asked));
});
