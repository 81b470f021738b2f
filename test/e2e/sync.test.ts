import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { Containerd } from './containerd.ts';
import { countDials, NO_DIALS } from './dials.ts';
import { Dockerd } from './dockerd.ts';
import { NATIVE_ARCHITECTURE } from './image-layout.ts';
import { OTHER_REGISTRY } from './images.ts';
import { Podman } from './podman.ts';
import type { PublishedImage } from './published-image.ts';
import { pulls } from './pull-claims.ts';
import { publishRelease } from './release.ts';
import type { Attachment, Release } from './release.ts';
import { Skopeo } from './skopeo.ts';
import { suite } from './suite.ts';
import { startWorld } from './world.ts';
import type { World } from './world.ts';

const run = suite('sync', 'dockerd', 'containerd', 'ctr', 'podman');

const PLATFORMS = [`linux/${NATIVE_ARCHITECTURE}`];

/** Tags by a glob and by name, a repository by a glob that its registry's catalog resolves. */
const SYNC = {
  // Nothing falls due while a test runs.
  schedule: '0 0 1 1 *',
  defaults: { platforms: PLATFORMS },
  rules: [
    { image: 'docker.io/library/app', tags: { globs: ['1*'] } },
    { image: 'docker.io/library/legacy', tags: ['1'] },
    { image: `${OTHER_REGISTRY}/library/*`, tags: ['1'] },
  ],
};

interface Wanted {
  readonly image: PublishedImage;
  /** Where the rule stands. */
  readonly rule: string;
  /** All that the site must hold for it. */
  readonly parts: readonly string[];
}

interface SyncedWorld extends World {
  readonly release: Release;
  /** In the order in which `sync status` tells them. */
  readonly wanted: readonly Wanted[];
}

interface Status {
  readonly rules: number;
  readonly counts: object;
  readonly unresolved?: unknown;
  readonly images: readonly { readonly checkedAt: number }[];
}

run('what was synced is pulled by every client with the registries gone', async (t) => {
  const world = await startSynced(t);
  const { netns, mirror, origin, otherOrigin, images, release } = world;
  t.deepEqual(await mirror.command('sync', 'plan', '--json').then(({ code }) => code), 0);

  await Promise.all([origin.stop(), otherOrigin.stop()]);
  const ready = { rules: 3, counts: { ready: 4, partial: 0, stale: 0, unresolved: 0 } };
  t.deepEqual(await status(world), { code: 0, ...ready, images: await describe(world) });

  const hub = [images.oci, images.docker, release.image];
  const pullAll = async (pull: ReturnType<typeof pulls>, wanted: readonly PublishedImage[]) => {
    for (const image of wanted) {
      await pull(image);
      await pull(image, image.byDigest);
    }
  };
  await pullAll(pulls(t, world, await Dockerd.start(netns, mirror.url)), hub);
  await pullAll(pulls(t, world, await Containerd.start(netns, mirror.url)), [...hub, images.other]);
  const paths = { 'docker.io': 'docker.io', [OTHER_REGISTRY]: OTHER_REGISTRY.replace(':', '_') };
  const podman = await Podman.create(netns, mirror.url, paths);
  await pullAll(pulls(t, world, podman), [...hub, images.other]);
  t.deepEqual(await status(world), { code: 0, ...ready, images: await describe(world) });
});

run('signature and SBOM of what was synced are there with the registries gone', async (t) => {
  const world = await startSynced(t);
  const { netns, mirror, origin, otherOrigin, release } = world;
  const { signature, sbom } = release;
  await Promise.all([origin.stop(), otherOrigin.stop()]);

  const skopeo = await Skopeo.create(netns, mirror.url);
  const references = [signature.tag, sbom.manifest.digest];
  for (const [at, { parts }] of [signature, sbom].entries()) {
    const name = { ...release.image.byTag, reference: references[at]! };
    const pulled = new Set(await digestsIn(await skopeo.pullAll(name)));
    t.deepEqual(
      digestsOf(parts).filter((digest) => !pulled.has(digest)),
      [],
    );
  }
  const path = '/v2/library/app';
  const [list, tagged, manifest, content] = await mirror.ask(
    `GET ${path}/referrers/${sbom.subject}`,
    `GET ${path}/manifests/${sbom.tag}`,
    `GET ${path}/manifests/${sbom.manifest.digest}`,
    `GET ${path}/blobs/${sbom.layer.digest}`,
  );
  for (const { body } of [list!, tagged!]) {
    const { manifests } = JSON.parse(body) as { readonly manifests: readonly object[] };
    t.deepEqual(manifests, [{ ...sbom.manifest, artifactType: sbom.layer.mediaType }]);
  }
  t.is(digestOf(Buffer.from(manifest!.body)), sbom.manifest.digest);
  t.is(content!.body, sbom.content);
});

run('offline: what was not chosen is told by name, what is lost as well', async (t) => {
  const world = await startSynced(t);
  const { mirror, settings, release, images } = world;
  const { name, digest } = release.otherPlatform;
  await mirror.restart({ ...settings, offline: true, sync: SYNC }, 'SIGTERM');

  const dials = await countDials(world, async () => {
    t.is((await status(world)).code, 0);
    const [held, other] = await mirror.ask(
      'GET /v2/library/app/manifests/1.1',
      `GET /v2/library/app/manifests/${digest}`,
    );
    t.is(held!.status, 200);
    t.is(other!.status, 404);
    t.deepEqual(JSON.parse(other!.body).errors[0].code, 'MANIFEST_UNKNOWN');
    const message = `docker.io/library/app is mirrored here without ${name}, and this site is offline`;
    t.is(JSON.parse(other!.body).errors[0].message, message);
  });
  t.deepEqual(dials, NO_DIALS);

  const lost = images.other.parts.at(-1)!.replace('blobs/', '');
  const size = await sizeIn(images.otherData, lost);
  await rm(blobPath(mirror.storePath, lost));
  const [last, ...others] = (await describe(world)).toReversed();
  t.deepEqual(await status(world), {
    code: 1,
    rules: 3,
    counts: { ready: 3, partial: 1, stale: 0, unresolved: 0 },
    images: [
      ...others.toReversed(),
      {
        ...last,
        state: 'partial',
        bytes: last!.bytes - size,
        missingBytes: size,
        missing: [{ digest: lost, size }],
        reason: 'one file is missing',
      },
    ],
  });
  const table = await mirror.command('sync', 'status');
  t.is(table.code, 1);
  t.regex(table.output, /^registry\.test:5000\/library\/app +1 +partial .*one file is missing$/m);
  const explained = await mirror.command('explain', `${OTHER_REGISTRY}/library/app:1`);
  t.is(explained.code, 0);
  t.true(explained.output.includes(lost), explained.output);
});

/** A world with a release in it, and a mirror that has synced all of it through the command. */
async function startSynced(t: ExecutionContext): Promise<SyncedWorld> {
  const world = await startWorld(t);
  t.timeout(300_000);
  const { mirror, origin, otherOrigin } = world;
  const release = await publishRelease(world);
  const synced = { ...world, release, wanted: wantedOf(world, release) };
  await Promise.all([origin.takeRequests(), otherOrigin.takeRequests()]);

  await mirror.restart({ ...world.settings, sync: SYNC }, 'SIGTERM');
  // It joins the run that the start of the server began, or does it again.
  const { code, output } = await mirror.command('sync', 'run', '--json');
  t.is(code, 0, output);
  const report = JSON.parse(output) as Report;
  const { isOk, failures, released } = report;
  t.deepEqual({ isOk, failures, released }, { isOk: true, failures: [], released: [] });
  t.is(report.images.fetched + report.images.kept, 4);

  // Each part once, though images and repositories share some; nothing of other platforms. What two
  // registries share is shown again by whichever comes second, whose word for it counts for nothing.
  const digests = new Set(synced.wanted.flatMap(({ parts }) => digestsOf(parts)));
  const all = [...digests].toSorted();
  const fetched = [...(await fetchedFrom(origin)), ...(await fetchedFrom(otherOrigin))];
  t.deepEqual([...new Set(fetched)].toSorted(), all);
  const again = fetched.filter((digest, place) => fetched.indexOf(digest) < place);
  t.deepEqual([...new Set(again)].toSorted(), sharedOf(synced).toSorted());
  t.deepEqual(await heldIn(mirror.storePath), all);
  return synced;
}

interface Report {
  readonly isOk: boolean;
  readonly images: { readonly fetched: number; readonly kept: number };
  readonly failures: unknown;
  readonly released: unknown;
}

function wantedOf({ images }: World, { image, signature, sbom }: Release): Wanted[] {
  const all = (wanted: PublishedImage, ...attachments: readonly Attachment[]) => [
    ...wanted.parts,
    ...attachments.flatMap(({ parts }) => parts),
  ];
  // The SBOM is one of a platform that both have.
  return [
    { image: images.oci, rule: 'sync.rules[0]', parts: all(images.oci, sbom) },
    { image, rule: 'sync.rules[0]', parts: all(image, signature, sbom) },
    { image: images.docker, rule: 'sync.rules[1]', parts: all(images.docker) },
    { image: images.other, rule: 'sync.rules[2]', parts: all(images.other) },
  ];
}

/** The parts that both registries have. */
function sharedOf({ images, wanted }: Pick<SyncedWorld, 'images' | 'wanted'>): string[] {
  const digestsWhere = (isOther: boolean): Set<string> => {
    const these = wanted.filter(({ image }) => (image === images.other) === isOther);
    return new Set(these.flatMap(({ parts }) => digestsOf(parts)));
  };
  return [...digestsWhere(true).intersection(digestsWhere(false))];
}

/** As `sync status` has to tell it, sizes from the registries' own files. */
async function describe({ images, wanted }: SyncedWorld) {
  return Promise.all(
    wanted.map(async ({ image, rule, parts }) => {
      const data = image === images.other ? images.otherData : images.data;
      const digests = [...new Set(digestsOf(parts))];
      const sizes = await Promise.all(digests.map(async (digest) => sizeIn(data, digest)));
      const { registry, repository, reference: tag } = image.byTag;
      return {
        image: `${registry}/${repository}`,
        tag,
        digest: image.byDigest.reference,
        rule,
        platforms: PLATFORMS,
        state: 'ready',
        bytes: sizes.reduce((sum, size) => sum + size, 0),
        missingBytes: 0,
        missing: [] as object[],
        checkedAt: 0,
      };
    }),
  );
}

/** What `sync status --json` tells, but for times. */
async function status({ mirror }: World) {
  const { code, output } = await mirror.command('sync', 'status', '--json');
  const { rules, counts, unresolved, images } = JSON.parse(output) as Status;
  return {
    code,
    rules,
    counts,
    images: images.map((image) => ({ ...image, checkedAt: 0 })),
    ...(unresolved !== undefined && { unresolved }),
  };
}

/** What a registry was asked to send by its digest. */
async function fetchedFrom(origin: World['origin']): Promise<string[]> {
  const requests = await origin.takeRequests();
  const gets = requests.filter((line) => /^GET .*\/(manifests|blobs)\/sha256:/.test(line));
  return digestsOf(gets);
}

function digestsOf(parts: readonly string[]): string[] {
  return parts.map((part) => part.slice(part.indexOf('sha256:')));
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Of the files that skopeo wrote, whatever they are called. */
async function digestsIn(directory: string): Promise<string[]> {
  const names = await readdir(directory);
  return Promise.all(names.map(async (name) => digestOf(await readFile(join(directory, name)))));
}

/** What the files of a store have for content, in order. */
async function heldIn(store: string): Promise<string[]> {
  const entries = await readdir(join(store, 'blobs'), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const digests = files.map(async ({ parentPath, name }) =>
    digestOf(await readFile(join(parentPath, name))),
  );
  return (await Promise.all(digests)).toSorted();
}

function blobPath(store: string, digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return join(store, 'blobs', algorithm, hex.slice(0, 2), hex);
}

/** Of a blob or a manifest, as docker-registry keeps them. */
async function sizeIn(data: string, digest: string): Promise<number> {
  const hex = digest.replace('sha256:', '');
  const path = join(data, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data');
  return (await stat(path)).size;
}
