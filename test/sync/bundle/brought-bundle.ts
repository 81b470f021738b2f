import type { ExecutionContext } from 'ava';
import type { BundledImage } from '../../../src/api/bundle-api.ts';
import type { BundleManifest } from '../../../sync/bundle/bundle-manifest.ts';
import { SigningKey } from '../../../sync/bundle/signing-key.ts';
import { get, type ClientAnswer } from '../../helpers/client.ts';
import type { Image, Stored } from '../../helpers/image.ts';
import { startMirror, type MirrorOptions, type TestMirror } from '../../helpers/mirror.ts';
import { MadeBundle, type MadeContents } from './made-bundle.ts';

export const REGISTRY = 'hub.example';
export const COURIER = SigningKey.generate();

/** A site that trusts the courier and has no link. */
export async function startAirGapped(
  t: ExecutionContext,
  options: Partial<MirrorOptions> = {},
): Promise<TestMirror> {
  return startMirror(t, {
    upstreams: { [REGISTRY]: { url: 'http://127.0.0.1:9' } },
    offline: true,
    bundles: { trust: { courier: trusted(COURIER, ['images', 'trust']) } },
    ...options,
  });
}

export function trusted(key: SigningKey, may: ('images' | 'trust')[] = ['images']) {
  return { file: { path: '/etc/courier.pub', pem: key.public.format() }, may };
}

export interface BroughtImage {
  readonly image: Pick<Image, 'manifest' | 'blobs'>;
  readonly repository: string;
  readonly tag: string;
  readonly isSearched?: true;
}

/** A bundle of whole images, without what the site has. */
export function bundleOf(
  images: readonly BroughtImage[],
  {
    held = [],
    ...contents
  }: Omit<MadeContents, 'blobs' | 'manifest'> & {
    held?: readonly Stored[];
    manifest?: Partial<BundleManifest>;
  } = {},
): MadeBundle {
  const all = new Map(
    images
      .flatMap(({ image }) => [image.manifest, ...image.blobs])
      .map((each) => [each.digest, each]),
  );
  const needs = held.filter(({ digest }) => all.has(digest));
  for (const { digest } of needs) all.delete(digest);
  return new MadeBundle({
    key: COURIER,
    ...contents,
    blobs: [...all.values()].map(({ bytes }) => bytes),
    manifest: {
      images: images.map(entryOf).toSorted((a, b) => compare(a, b)),
      needs: needs
        .map(({ digest, size }) => ({ digest, size }))
        .toSorted((a, b) => (a.digest < b.digest ? -1 : 1)),
      ...contents.manifest,
    },
  });
}

function entryOf({ image: { manifest }, repository, tag, ...rest }: BroughtImage): BundledImage {
  const { digest, mediaType, size } = manifest;
  return { name: `${REGISTRY}/${repository}`, tag, digest, mediaType, size, ...rest };
}

function compare(a: BundledImage, b: BundledImage): number {
  return `${a.name}:${a.tag}` < `${b.name}:${b.tag}` ? -1 : 1;
}

export async function bring(
  mirror: TestMirror,
  part: Buffer,
  { allowOlder = false } = {},
): Promise<{ status: number; body: Record<string, unknown> }> {
  const url = `${mirror.server.adminUrl}/api/v1/bundles/parts?allowOlder=${allowOlder}`;
  const headers = { 'content-type': 'application/x-tar' };
  const { status, body } = await get(url, { method: 'POST', headers, body: part });
  return { status, body: JSON.parse(String(body)) as Record<string, unknown> };
}

export async function pull(
  mirror: TestMirror,
  repository: string,
  reference: string,
): Promise<ClientAnswer> {
  return get(`${mirror.url}/v2/${repository}/manifests/${reference}?ns=${REGISTRY}`, {
    headers: { accept: '*/*' },
  });
}
