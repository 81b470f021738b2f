import { until } from '../helpers/until.ts';
import type { Observatory } from './observatory.ts';
import { MIB, type ObservedSite } from './observed-site.ts';

/** Pulls of every kind: misses, hits, questions by HEAD, ranges, joined, negative, a sync run. */
export async function makeTraffic(all: ObservedSite, watch: Observatory): Promise<void> {
  const { site, image, registries } = all;
  await site.logged('sync run');
  const [large, small] = image.layers.map(({ digest }) => `library/app/blobs/${digest}`);
  const manifest = 'library/app/manifests/v1';
  const gate = registries['docker.io'].hold(image.layer(0), { after: 1000 });
  await all.ask(site, 'docker.io', manifest);
  const first = all.ask(site, 'docker.io', large ?? '');
  await gate.arrived();
  const second = all.ask(site, 'docker.io', large ?? '');
  gate.open();
  await Promise.all([first, second]);
  await all.ask(site, 'docker.io', small ?? '');
  await all.ask(site, 'docker.io', `library/app/blobs/${image.config.digest}`);
  for (let turn = 0; turn < 5; turn++) {
    await all.ask(site, 'docker.io', manifest);
    await all.ask(site, 'docker.io', large ?? '');
  }
  await all.ask(site, 'docker.io', manifest, { method: 'HEAD' });
  await all.ask(site, 'docker.io', large ?? '', { headers: { range: 'bytes=5-99' } });
  for (const upstream of ['quay.io', 'login.example', 'tokens.example', 'ghcr.io'] as const) {
    await all.ask(site, upstream, manifest);
  }
  await all.ask(site, 'ghcr.io', 'library/app/manifests/none');
  await all.ask(site, 'ghcr.io', 'library/app/manifests/none');
  await all.ask(all.small, 'plain.example', manifest);
  await all.ask(all.disk, 'plain.example', manifest);
  await all.ask(all.edge, 'tls.example', manifest);
  await waitForTurn(all, watch);
  await site.idle();
}

/** One that brings nothing leaves its place to who waits: a scrape that comes late does not see it. */
const ATTEMPTS = 5;
const SEEN_MS = 12_000;

/** One transfer breaks and goes on, another one waits for its turn meanwhile. */
async function waitForTurn(all: ObservedSite, watch: Observatory): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const isSeen = await seeOneWait(all, watch, { isFirst: attempt === 1 });
    if (isSeen) return;
    if (attempt === ATTEMPTS) throw new Error('nobody was seen to wait for a turn');
  }
}

async function seeOneWait(
  all: ObservedSite,
  watch: Observatory,
  { isFirst }: { isFirst: boolean },
): Promise<boolean> {
  const { site, registries } = all;
  const layers = all.publish('ghcr.io', 'library/large', 'v1', [2 * MIB, 3 * MIB]).layers;
  const [first, second] = layers.map(({ digest }) => `library/large/blobs/${digest}`);
  // The figures of the pages know of one break.
  if (isFirst) registries['ghcr.io'].cut(layers[0]!, { after: MIB });
  const gate = registries['ghcr.io'].hold(layers[0]!, { after: 1000, times: 1 });
  const running = all.ask(site, 'ghcr.io', first ?? '');
  await gate.arrived();
  const waiting = all.ask(site, 'ghcr.io', second ?? '');
  const look = async (): Promise<boolean> =>
    (await watch.now('entrepot_transfer_queue_waiting > 0')).length > 0;
  const isSeen = await until('one is seen to wait', look, { withinMs: SEEN_MS }).catch(() => false);
  gate.open();
  await Promise.all([running, waiting]);
  return isSeen;
}
