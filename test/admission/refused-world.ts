/**
 * Two registries that both have an index that is refused, with all that hangs on it, beside an image of the same
 * repository and the same index in another one, which are admitted.
 */
import type { ExecutionContext } from 'ava';
import { get } from '../helpers/client.ts';
import { Clock } from '../helpers/clock.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import {
  buildBlob,
  buildImage,
  buildIndex,
  fallbackTag,
  MEDIA_TYPES,
  store,
  type Image,
  type Index,
  type Stored,
} from '../helpers/image.ts';
import { createTempFolder, startMirror, type TestMirror } from '../helpers/mirror.ts';
import { REPOSITORY } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';
import type { WarmState } from '../../src/api/warm-api.ts';
import { HUB, OTHER } from '../access/world.ts';
import { attachDocument } from './documents.ts';
import { admissionBy, type AdmissionConfig } from './guarded.ts';
import { SiteScanner, STRICT } from './scanned.ts';
import { attachBundle, BUNDLE, KeyHolder } from './signing.ts';

export const ELSEWHERE = 'library/elsewhere';

/** What one registry has. */
export interface Content {
  readonly index: Index;
  /** Of the first platform, of which no other manifest has a layer. */
  readonly child: Image;
  readonly admitted: Image;
  /** A layer of an image that is refused, and of one that is admitted. */
  readonly shared: Stored;
  readonly sbom: Awaited<ReturnType<typeof attachDocument>>;
  /** Something to run that is attached to the image. */
  readonly attached: Image;
  /** Of one whom no rule names, as a referrer. */
  readonly signature: { readonly manifest: Stored; readonly blob: Stored };
  /** The same under a tag. */
  readonly classic: { readonly manifest: Stored; readonly tag: string };
}

export interface RefusedWorld {
  readonly mirror: TestMirror;
  readonly clock: Clock;
  readonly registries: Readonly<Record<string, FakeRegistry>>;
  readonly contents: Readonly<Record<string, Content>>;
  /** Fetches all of it, as whoever warms images does. */
  hold(): Promise<void>;
  goOffline(): Promise<void>;
}

/** What the one rule asks: who signed it, or that nothing is found in it, of which the index has nothing of its own. */
export type Asks = 'signedBy' | 'vulnerabilities';

export async function startRefusedWorld(
  t: ExecutionContext,
  asks: Asks = 'signedBy',
): Promise<RefusedWorld> {
  const clock = new Clock();
  const signer = new KeyHolder();
  const registries = { [OTHER]: await FakeRegistry.start(t), [HUB]: await FakeRegistry.start(t) };
  const scanner = await SiteScanner.start(t);
  const bySigner = admissionBy(signer.writeKey(await createTempFolder(t)), { images: ['**'] });
  const admission = asks === 'signedBy' ? bySigner : scannedBy(scanner);
  const upstreams = {
    [OTHER]: { url: registries[OTHER].url },
    [HUB]: { url: registries[HUB].url, hosts: ['hub.mirror'] },
  };
  const mirror = await startMirror(t, { upstreams, admission, clock });
  const contents = Object.fromEntries(
    Object.entries(registries).map(([name, each]) => [name, fill(each, name, signer)]),
  );
  for (const { child } of Object.values(contents)) {
    scanner.findings.set(child.manifest.digest, [{ id: 'CVE-2030-1' }]);
  }
  return {
    mirror,
    clock,
    registries,
    contents,
    hold: async () => {
      for (const upstream of Object.keys(registries)) await warm(mirror, upstream);
    },
    goOffline: async () => {
      t.is((await mirror.reload({ upstreams, admission, offline: true })).status, 200);
    },
  };
}

function scannedBy(scanner: SiteScanner): AdmissionConfig {
  const rule = { images: ['**'], mode: 'enforce' as const, vulnerabilities: STRICT };
  return { trust: { keys: {} }, scanner: scanner.settings, rules: [rule] };
}

function fill(registry: FakeRegistry, name: string, signer: KeyHolder): Content {
  const shared = buildBlob(`${name} shared`, 300, MEDIA_TYPES.layer);
  const child = buildImage({ seed: `${name} amd64`, layers: [500, shared] });
  const second = buildImage({ seed: `${name} arm64`, layers: [400] });
  const index = buildIndex([
    { image: child, platform: { os: 'linux', architecture: 'amd64' } },
    { image: second, platform: { os: 'linux', architecture: 'arm64' } },
  ]);
  const admitted = buildImage({ seed: `${name} admitted`, layers: [200, shared] });
  registry.addIndex(REPOSITORY, 'v1', index);
  registry.addIndex(ELSEWHERE, 'v1', index);
  registry.addImage(REPOSITORY, 'admitted', admitted);
  signer.attach(registry, REPOSITORY, admitted.manifest);
  signer.attach(registry, ELSEWHERE, index.manifest);
  const stranger = new KeyHolder();
  const bundle = stranger.bundle(index.manifest);
  const manifest = attachBundle(registry, {
    repository: REPOSITORY,
    image: index.manifest,
    bundle,
  });
  const attached = buildImage({ seed: `${name} attached`, layers: [100], subject: index.manifest });
  registry.addImage(REPOSITORY, undefined, attached);
  return {
    index,
    child,
    admitted,
    shared,
    sbom: attachDocument(registry, { subject: index.manifest, bytes: `{"sbom of":"${name}"}` }),
    attached,
    signature: { manifest, blob: store(bundle, BUNDLE) },
    classic: {
      manifest: stranger.attachByTag(registry, REPOSITORY, index.manifest),
      tag: `${fallbackTag(index.manifest.digest)}.sig`,
    },
  };
}

async function warm(mirror: TestMirror, upstream: string): Promise<void> {
  const names = [`${REPOSITORY}:v1`, `${REPOSITORY}:admitted`, `${ELSEWHERE}:v1`];
  const images = names.map((each) => `${upstream}/${each}`);
  const url = `${mirror.server.adminUrl}/api/v1/warm`;
  const headers = { 'content-type': 'application/json' };
  const { body } = await get(url, { method: 'POST', headers, body: JSON.stringify({ images }) });
  const { id } = JSON.parse(String(body)) as WarmState;
  await until('all of it is held', async () => {
    const { body: state } = await get(`${url}/${id}`);
    return (JSON.parse(String(state)) as WarmState).last !== undefined;
  });
  await mirror.idle();
}
