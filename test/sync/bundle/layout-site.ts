/**
 * A site that no registry reaches, and layouts to be brought to it:
 *
 *   const site = await startSite(t);
 *   const { status, report } = await site.bring(tarOf(layoutOf(image)), 'app:v1');
 *   const answer = await site.pull('manifests/v1');
 */
import type { ExecutionContext } from 'ava';
import { readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import type { LayoutReport } from '../../../src/api/layout-api.ts';
import { get, type ClientAnswer } from '../../helpers/client.ts';
import { digestOf, type Descriptor, type Image, type Stored } from '../../helpers/image.ts';
import { startMirror, type MirrorOptions, type TestMirror } from '../../helpers/mirror.ts';

export const UPSTREAM = 'hub.example';
export const REPOSITORY = 'app';

export interface TarEntry {
  readonly name: string;
  readonly bytes?: Buffer | string;
  readonly type?: 'file' | 'symlink' | 'link' | 'directory' | 'character-device' | 'fifo';
  readonly to?: string;
  readonly pax?: Readonly<Record<string, string>>;
}

export interface Answered {
  readonly status: number;
  readonly report: LayoutReport;
  readonly error?: string;
}

export interface Site {
  readonly mirror: TestMirror;
  readonly bring: (
    tar: Buffer | Readable,
    image: string,
    options?: { ref?: string; type?: string; signal?: AbortSignal },
  ) => Promise<Answered>;
  /** `manifests/…` or `blobs/…` of `app`. */
  readonly pull: (path: string) => Promise<ClientAnswer>;
}

export async function startSite(
  t: ExecutionContext,
  options: Partial<MirrorOptions> = {},
): Promise<Site> {
  const mirror = await startMirror(t, {
    offline: true,
    upstreams: { [UPSTREAM]: { url: 'http://127.0.0.1:1' } },
    ...options,
  });
  return {
    mirror,
    bring: async (tar, image, { ref, type = 'application/x-tar', signal } = {}) => {
      const query = new URLSearchParams({ image, ...(ref !== undefined && { ref }) });
      const url = `${mirror.server.adminUrl}/api/v1/bundles/layouts?${query.toString()}`;
      const headers = { 'content-type': type };
      const body = tar as unknown as ReadableStream;
      const sent = { method: 'POST', headers, body, duplex: 'half', ...(signal && { signal }) };
      const answer = await fetch(url, sent as RequestInit);
      const report = (await answer.json()) as LayoutReport & { error?: string };
      return { status: answer.status, report, ...(report.error && { error: report.error }) };
    },
    pull: async (path) => get(`${mirror.url}/v2/${REPOSITORY}/${path}`),
  };
}

export async function tarOf(entries: readonly TarEntry[]): Promise<Buffer> {
  const tar = pack();
  for (const { name, bytes = '', type = 'file', to, pax } of entries) {
    const header = {
      name,
      type,
      mtime: new Date(0),
      ...(to && { linkname: to }),
      pax: pax ?? null,
    };
    if (type === 'file') tar.entry(header, Buffer.from(bytes));
    else tar.entry(header).end(undefined);
  }
  tar.finalize();
  return buffer(tar);
}

export function blobEntry({ digest, bytes }: Pick<Stored, 'digest' | 'bytes'>): TarEntry {
  return { name: `blobs/${digest.replace(':', '/')}`, bytes };
}

/** All that is stored of images, each digest once. */
export function blobsOf(...images: readonly Image[]): Stored[] {
  const all = images.flatMap(({ manifest, blobs }) => [manifest, ...blobs]);
  return [...new Map(all.map((each) => [each.digest, each])).values()];
}

export interface Listed extends Descriptor {
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The files of an OCI layout with these roots and blobs. */
export function layoutOf(roots: readonly Listed[], blobs: readonly Stored[]): TarEntry[] {
  return [
    { name: 'oci-layout', bytes: '{"imageLayoutVersion":"1.0.0"}' },
    { name: 'index.json', bytes: JSON.stringify({ schemaVersion: 2, manifests: roots }) },
    ...blobs.map(blobEntry),
  ];
}

/** A descriptor under the names that docker and containerd give. */
export function named({ mediaType, digest, size }: Stored, name?: string, ref?: string): Listed {
  const annotations = {
    ...(name !== undefined && { 'io.containerd.image.name': name }),
    ...(ref !== undefined && { 'org.opencontainers.image.ref.name': ref }),
  };
  return { mediaType, digest, size, annotations };
}

export function storedOf(bytes: Buffer, mediaType = 'application/octet-stream'): Stored {
  return { bytes, size: bytes.length, digest: digestOf(bytes), mediaType };
}

/** Nothing of an image is to be seen, by a client or on the disk. */
export async function isLeftAlone(
  t: ExecutionContext,
  { mirror, pull }: Site,
  { manifest, layers }: Image,
  message: string,
): Promise<void> {
  await mirror.idle();
  t.is(mirror.server.catalog.usage.blobs, 0, message);
  t.deepEqual(await Array.fromAsync(mirror.server.blobs.folders.list()), [], message);
  t.deepEqual(await readdir(`${mirror.storePath}/ingest`), [], message);
  t.false((await readdir(dirname(mirror.storePath))).includes('evil'), message);
  const pulls = ['manifests/v1', `manifests/${manifest.digest}`, `blobs/${layers[0]?.digest}`];
  for (const path of pulls) t.is((await pull(path)).status, 504, message);
}
