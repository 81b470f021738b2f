import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
import {
  buildArtifact,
  buildImage,
  buildIndex,
  fallbackTag,
  type Image,
  type Index,
} from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { missingPackages, testUnless } from '../helpers/needs.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { Connected } from '../sync/bundle/connected.ts';
import { rule, syncConfig } from '../sync/rules.ts';

const run = promisify(execFile);
const test = testUnless('bundles as OCI layouts', missingPackages('skopeo'));

const REPOSITORY = 'library/app';
const APP = `${UPSTREAM}/${REPOSITORY}`;
const PLATFORMS = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));

/** Images of each kind, and what is attached to them. */
function addImages(registry: FakeRegistry) {
  const [amd64, arm64] = PLATFORMS.map((platform) =>
    buildImage({ seed: platform.architecture, layers: [4000, 300], platform }),
  ) as [Image, Image];
  const index = buildIndex(
    [amd64, arm64].map((image, at) => ({ image, platform: PLATFORMS[at]! })),
  );
  registry.addIndex(REPOSITORY, 'multi', index);
  const plain = buildImage({ seed: 'plain', layers: [1000] });
  registry.addImage(REPOSITORY, 'v1', plain);
  registry.tag(REPOSITORY, 'stable', plain.manifest.digest);
  const docker = buildImage({ seed: 'docker', layers: [2000], docker: true });
  registry.addImage(REPOSITORY, 'docker', docker);
  const list = buildIndex([{ image: docker, platform: PLATFORMS[0]! }], { docker: true });
  registry.addIndex(REPOSITORY, 'list', list);
  const artifactType = 'application/vnd.example.signature';
  const signature = buildArtifact({ seed: 's', artifactType, subject: index.manifest });
  registry.addImage(REPOSITORY, undefined, signature);
  const cosigned = buildImage({ seed: 'cosigned', layers: [70] });
  const cosignTag = `${fallbackTag(plain.manifest.digest)}.sig`;
  registry.addImage(REPOSITORY, cosignTag, cosigned);
  return { index, amd64, plain, docker, list, signature, cosigned, cosignTag };
}

function digestsOf(image: Image | Index): string[] {
  const files = 'images' in image ? image.images.flatMap(filesOf) : filesOf(image);
  return [...new Set([image.manifest, ...files].map(({ digest }) => digest))].toSorted();
}

function filesOf({ manifest, blobs }: Image) {
  return [manifest, ...blobs];
}

/** The digests of all that skopeo gets of an image, computed from the bytes. */
async function copied(t: ExecutionContext, from: string, ...flags: string[]): Promise<string[]> {
  const to = await mkdtemp(join(await createTempFolder(t), 'to-'));
  await run('skopeo', ['--insecure-policy', 'copy', '--quiet', ...flags, from, `dir:${to}`]);
  const names = (await readdir(to)).filter((name) => name !== 'version');
  const files = await Promise.all(names.map(async (name) => readFile(join(to, name))));
  const digests = files.map((bytes) => createHash('sha256').update(bytes).digest('hex'));
  return digests.map((digest) => `sha256:${digest}`).toSorted();
}

/** What is attached has no name that skopeo or ctr would take for an image; it is there by its digest. */
async function claimAttached(
  t: ExecutionContext,
  layout: string,
  { index, plain, signature, cosigned }: ReturnType<typeof addImages>,
): Promise<void> {
  const text = await readFile(join(layout, 'index.json'), 'utf8');
  const { manifests } = JSON.parse(text) as {
    manifests: { digest: string; annotations: Record<string, string> }[];
  };
  const attached = [
    [signature, index.manifest.digest],
    [cosigned, plain.manifest.digest],
  ] as const;
  for (const [image, subject] of attached) {
    const own = manifests.filter(({ digest }) => digest === image.manifest.digest);
    t.deepEqual(
      own.map(({ annotations }) => annotations),
      [{ 'io.containerd.manifest.subject': subject }],
    );
    for (const { digest, bytes } of [image.manifest, ...image.blobs]) {
      t.deepEqual(await readFile(join(layout, 'blobs', digest.replace(':', '/'))), bytes);
    }
  }
}

test('skopeo copies every image out of a bundle, from its tar and unpacked, with its digests', async (t) => {
  const site = await Connected.start(t);
  const world = addImages(site.registry);
  const tags = ['multi', 'v1', 'stable', 'docker', 'list'];
  const { code } = await site.create(...tags.map((tag) => `${APP}:${tag}`), '--out', 'full.tar');
  t.is(code, 0);
  await mkdir(site.path('layout'));
  await run('tar', ['-xf', site.path('full.tar'), '-C', site.path('layout')]);
  for (const from of [`oci-archive:${site.path('full.tar')}`, `oci:${site.path('layout')}`]) {
    for (const [name, image] of [
      [`${APP}:v1`, world.plain],
      [`${APP}:stable`, world.plain],
      [`${APP}:docker`, world.docker],
    ] as const) {
      t.deepEqual(await copied(t, `${from}:${name}`), digestsOf(image), name);
    }
    t.deepEqual(await copied(t, `${from}:${APP}:multi`, '--all'), digestsOf(world.index));
    // skopeo 1.9 takes only one platform of a list of Docker's as it is.
    t.deepEqual(await copied(t, `${from}:${APP}:list`), digestsOf(world.docker));
  }
  await claimAttached(t, site.path('layout'), world);
});

test('of an index of which some platforms are carried skopeo copies these', async (t) => {
  const rules = [rule(REPOSITORY, { tags: { names: ['multi'] }, platforms: ['linux/amd64'] })];
  const site = await Connected.start(t, { sync: syncConfig(rules) });
  const { index, amd64 } = addImages(site.registry);
  t.is((await site.create('--out', 'some.tar')).code, 0);
  const from = `oci-archive:${site.path('some.tar')}:${APP}:multi`;
  const platform = ['--override-os', 'linux', '--override-arch', 'amd64'];
  const { stdout } = await run('skopeo', [...platform, 'inspect', '--raw', from]);
  t.is(stdout, index.manifest.bytes.toString());
  const to = join(await createTempFolder(t), 'to');
  await run('skopeo', ['--insecure-policy', ...platform, 'copy', '--quiet', from, `dir:${to}`]);
  t.is(await readFile(join(to, 'manifest.json'), 'utf8'), amd64.manifest.bytes.toString());
});
