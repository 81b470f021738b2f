import type { ExecutionContext } from 'ava';
import { digestsOf, heldIn } from './digests.ts';
import { NATIVE_ARCHITECTURE } from './image-layout.ts';
import { OTHER_REGISTRY } from './images.ts';
import type { PublishedImage } from './published-image.ts';
import { publishRelease } from './release.ts';
import type { Attachment } from './referrer.ts';
import type { Release } from './release.ts';
import { startWorld } from './world.ts';
import type { World } from './world.ts';

export const PLATFORMS = [`linux/${NATIVE_ARCHITECTURE}`];

/** Tags by a glob and by name, a repository by a glob that its registry's catalog resolves. */
export const SYNC = {
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

export interface SyncedWorld extends World {
  readonly release: Release;
  /** In the order in which `sync status` tells them. */
  readonly wanted: readonly Wanted[];
}

/** A world with a release in it, and a mirror that has synced all of it through the command. */
export async function startSynced(t: ExecutionContext): Promise<SyncedWorld> {
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

/** What a registry was asked to send by its digest. */
async function fetchedFrom(origin: World['origin']): Promise<string[]> {
  const requests = await origin.takeRequests();
  const gets = requests.filter((line) => /^GET .*\/(manifests|blobs)\/sha256:/.test(line));
  return digestsOf(gets);
}
