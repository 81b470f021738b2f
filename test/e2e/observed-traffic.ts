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

/**
 * One that brings nothing leaves its place to the next one after a moment: so many are held that some wait
 * for longer than a scrape takes to come.
 */
const HELD = 16;

/** One transfer breaks and goes on, others wait for their turn meanwhile. */
async function waitForTurn(all: ObservedSite, watch: Observatory): Promise<void> {
  const { site, registries } = all;
  const sizes = Array.from({ length: HELD }, () => 2 * MIB);
  const { layers } = all.publish('ghcr.io', 'library/large', 'v1', sizes);
  registries['ghcr.io'].cut(layers[0]!, { after: MIB });
  const gates = layers.map((layer) => registries['ghcr.io'].hold(layer, { after: 1000, times: 1 }));
  const asked = layers.map(async ({ digest }) =>
    all.ask(site, 'ghcr.io', `library/large/blobs/${digest}`),
  );
  await until('one is seen to wait', async () => {
    return (await watch.now('entrepot_transfer_queue_waiting > 0')).length > 0;
  });
  for (const gate of gates) gate.open();
  await Promise.all(asked);
}
