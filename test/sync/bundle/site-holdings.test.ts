import test, { type ExecutionContext } from 'ava';
import type { Digest } from '../../../src/oci/digest.ts';
import type { Tag } from '../../../src/oci/reference.ts';
import { MemberMask } from '../../../sync/bundle/member-mask.ts';
import { SiteHoldings } from '../../../sync/bundle/site-holdings.ts';
import { FakeRegistry } from '../../helpers/fake-registry.ts';
import {
  buildArtifact,
  buildBlob,
  buildImage,
  buildIndex,
  type Image,
  type Stored,
} from '../../helpers/image.ts';
import { startMirror, type TestMirror } from '../../helpers/mirror.ts';
import { digestOf, NOTHING_HELD } from './made-inventory.ts';
import { pull, readSite } from './read-site.ts';

const UPSTREAM = 'hub.example';
const REPOSITORY = 'org/app';

/** Two mirrors of one registry: a site, and who sends it bundles. */
async function startPair(t: ExecutionContext) {
  const registry = await FakeRegistry.start(t);
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  const [site, sender] = [await startMirror(t, { upstreams }), await startMirror(t, { upstreams })];
  const holdings = async (): Promise<SiteHoldings> =>
    new SiteHoldings(await readSite(t, site), sender.server.catalog);
  return { registry, site, sender, holdings };
}

function pathsOf({ manifest, blobs }: Image): string[] {
  return [`manifests/${manifest.digest}`, ...blobs.map(({ digest }) => `blobs/${digest}`)];
}

/** Versions of an image for several platforms that share layers, with what is attached to them. */
function buildWorld(registry: FakeRegistry): string[] {
  const shared = ['a', 'b', 'c'].map((seed) => buildBlob(seed, 300));
  const paths: string[] = [];
  for (const version of [1, 2, 3]) {
    const children = ['amd64', 'arm64', 's390x'].map((architecture, at) => {
      const layers = [...shared.slice(0, (version + at) % 4), 50 * version + at];
      const platform = { os: 'linux', architecture };
      const seed = `${version} ${architecture}`;
      return { image: buildImage({ seed, layers, platform }), platform };
    });
    const index = buildIndex(children);
    const subject = children[0]!.image;
    const artifactType = 'application/vnd.example.sbom';
    const sbom = buildArtifact({
      seed: `sbom ${version}`,
      artifactType,
      subject: subject.manifest,
    });
    registry.addIndex(REPOSITORY, `v${version}`, index);
    registry.addImage(REPOSITORY, undefined, sbom);
    paths.push(`manifests/v${version}`, `manifests/${index.manifest.digest}`);
    paths.push(...[...children.map(({ image }) => image), sbom].flatMap(pathsOf));
  }
  return [...new Set(paths)];
}

/** The same numbers every time. */
function* numbers(seed: number): Generator<number> {
  for (let state = seed; ;) {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    yield state / 2 ** 31;
  }
}

async function heldAt({ server }: TestMirror, digest: Digest): Promise<boolean> {
  return (await server.blobs.statBlob(digest)) !== undefined;
}

test('of all that the sender knows, the inventory says what the site has, neither more nor less', async (t) => {
  const { registry, site, sender, holdings } = await startPair(t);
  const paths = buildWorld(registry);
  await pull(t, sender, REPOSITORY, ...paths);
  const digests = paths.map((path) => path.replace(/^.*\//, '')).filter((each) => each.length > 9);
  const random = numbers(7);
  for (let round = 0; round < 6; round += 1) {
    const some = paths.filter(() => random.next().value! < 0.25);
    await pull(t, site, REPOSITORY, ...some);
    const known = await holdings();
    for (const digest of digests as Digest[]) {
      t.is(await known.has(digest), await heldAt(site, digest), `round ${round}: ${digest}`);
    }
  }
  await pull(t, site, REPOSITORY, ...paths);
  const asked = registry.conversation().length;
  const all = await holdings();
  for (const digest of digests as Digest[]) t.true(await all.has(digest));
  t.is(registry.conversation().length, asked);
});

test('what a manifest lists that the sender does not hold counts as not there', async (t) => {
  const { registry, site, sender, holdings } = await startPair(t);
  const layer = buildBlob('shared', 500);
  const [older, newer] = [1, 2].map((seed) => buildImage({ seed, layers: [layer, 100] })) as [
    Image,
    Image,
  ];
  registry.addImage(REPOSITORY, 'older', older);
  registry.addImage(REPOSITORY, 'newer', newer);
  await pull(t, site, REPOSITORY, 'manifests/older', ...pathsOf(older));
  await pull(t, sender, REPOSITORY, 'manifests/newer', ...pathsOf(newer));
  const has = async ({ digest }: Stored): Promise<boolean> =>
    (await holdings()).has(digest as Digest);
  t.deepEqual(
    [await has(older.manifest), await has(layer), await has(newer.manifest)],
    [true, false, false],
  );
  await pull(t, sender, REPOSITORY, 'manifests/older');
  t.deepEqual(
    [await has(older.manifest), await has(layer), await has(newer.manifest)],
    [true, true, false],
  );
});

test('what the site serves under a name is told by tag and by digest', async (t) => {
  const { sender } = await startPair(t);
  const [first, second] = [digestOf('first'), digestOf('second')];
  const name = `${UPSTREAM}/org/app`;
  const tag = 'v1' as Tag;
  const holdings = new SiteHoldings(
    {
      ...NOTHING_HELD,
      complete: new Set([first]),
      partial: new Map([[second, MemberMask.of([false])]]),
      images: [
        { name, digest: second },
        { name, tag, digest: first },
      ],
    },
    sender.server.catalog,
  );
  t.true(holdings.serves({ name, tag, digest: first }));
  t.true(holdings.serves({ name, digest: first }));
  t.true(holdings.serves({ name, digest: second }));
  t.false(holdings.serves({ name, tag, digest: second }));
  t.false(holdings.serves({ name: `${UPSTREAM}/org/other`, digest: first }));
});
