import test from 'ava';
import { HOUR } from '../helpers/clock.ts';
import { buildImage } from '../helpers/image.ts';
import { rule } from './rules.ts';
import { Site } from './site.ts';

const REPOSITORY = 'library/app';
const RULES = [rule(REPOSITORY, { tags: { names: ['v1'] } })];
/** Closed when a site starts. */
const windows = [{ opens: '0 2 * * *', forMs: HOUR }];

test('what waits for a window is not completed behind its back; what a client asks for is', async (t) => {
  const site = await Site.start(t, { rules: RULES, windows, upstream: { hydrate: 'blob' } });
  const { registry, storePath, timer } = site;
  const image = buildImage({ seed: 'app', layers: [3000] });
  registry.addImage(REPOSITORY, 'v1', image, { name: 'app' });
  site.sync.run();
  await site.waiting();
  t.not((await site.sync.status()).closedUntil, undefined);
  await site.engine.mirror.resumeHydration();
  t.is(site.engine.mirror.activity.hydrations, 0);
  await site.close();

  const next = await Site.start(t, {
    rules: RULES,
    windows,
    upstream: { hydrate: 'blob' },
    registry,
    storePath,
    timer,
  });
  const { mirror } = next.engine;
  await mirror.resumeHydration();
  t.is(mirror.activity.hydrations, 0);
  t.deepEqual(
    registry.conversation().filter((line) => line.includes('/blobs/')),
    [],
  );
  await next.manifest(REPOSITORY, image.manifest.digest);
  await next.blob(REPOSITORY, image.config.digest);
  await registry.seen(image.layer(0));
});
