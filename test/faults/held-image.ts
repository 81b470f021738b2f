import type { ExecutionContext } from 'ava';
import type { Timing } from '../../src/net/timing.ts';
import { get, type ClientAnswer } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, type Image, type Stored } from '../helpers/image.ts';
import { startMirror, type TestMirror } from '../helpers/mirror.ts';

export const MISS = 'entrepot; fwd=miss; stored';
export const HIT = 'entrepot; hit';

export interface HeldImage {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  readonly image: Image;
  readonly blob: (blob: Stored, headers?: Record<string, string>) => Promise<ClientAnswer>;
  readonly manifest: (reference: string) => Promise<ClientAnswer>;
}

/** A mirror that holds `library/app:v1`, whole. */
export async function holdImage(
  t: ExecutionContext,
  {
    layers = [300_000, 20_000],
    segments = 'auto',
    ...options
  }: {
    layers?: readonly number[];
    segments?: number | 'auto';
    storePath?: string;
    timing?: Partial<Timing>;
  } = {},
): Promise<HeldImage> {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: t.title, layers });
  registry.addImage('library/app', 'v1', image, { name: 'app' });
  const mirror = await startMirror(t, {
    upstreams: { 'docker.io': { url: registry.url, segments } },
    ...options,
  });
  const scene = { registry, image, ...through(mirror) };
  await pullAll(scene);
  registry.clear();
  return scene;
}

/** What clients ask a mirror for. */
export function through(mirror: TestMirror): Pick<HeldImage, 'mirror' | 'blob' | 'manifest'> {
  const at = `${mirror.url}/v2/library/app`;
  return {
    mirror,
    blob: async ({ digest }, headers = {}) => get(`${at}/blobs/${digest}`, { headers }),
    manifest: async (reference) => get(`${at}/manifests/${reference}`),
  };
}

async function pullAll({
  mirror,
  image,
  blob,
  manifest,
}: Omit<HeldImage, 'registry'>): Promise<void> {
  // It would find what a test deletes before the test looks.
  await mirror.server.store.care.settled;
  await manifest('v1');
  for (const part of image.blobs) await blob(part);
  await mirror.idle();
}

export interface Report {
  readonly startedAt: number;
  readonly blobs: number;
  readonly bytes: number;
  readonly damaged: readonly object[];
}

/** Verifies all through the admin API, and waits for its report. */
export async function verify({ server }: TestMirror): Promise<Report> {
  const url = `${server.adminUrl}/api/v1/verify`;
  const headers = { 'content-type': 'application/json' };
  const { status } = await get(url, { method: 'POST', body: '{}', headers });
  if (status !== 202) throw new Error(`verification was not begun: ${status}`);
  for (;;) {
    const state = JSON.parse((await get(url)).body.toString()) as {
      running?: object;
      last: Report;
    };
    if (!state.running) return state.last;
  }
}
