/** A stop while work beside the pulls waits for an upstream: it is ended first, and nothing more is asked. */
import test from 'ava';
import { startScene } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';

const always = { times: Infinity };
const SLOW = { headersMs: 600_000, exchangeMs: 600_000, patienceMs: 600_000, attemptsMs: 600_000 };

const WORK: Record<string, { what: RegExp; hydrate: 'blob' | 'head'; begin: 'blob' | 'HEAD' }> = {
  'the referrers of a used image': { what: /referrers/, hydrate: 'blob', begin: 'blob' },
  'the tags of its signatures': { what: /manifests\/sha256-/, hydrate: 'blob', begin: 'blob' },
  'the manifest of a polled tag': { what: /manifests\/sha256:/, hydrate: 'head', begin: 'HEAD' },
};

for (const [claim, { what, hydrate, begin }] of Object.entries(WORK)) {
  for (const [fault, retryMs] of [
    ['hangs', 2],
    ['fails, and is to be asked again much later', 600_000],
  ] as const) {
    test(`${claim}: the upstream ${fault}`, async (t) => {
      const scene = await startScene(t, {
        upstream: { hydrate },
        timing: { ...SLOW, retryMs },
      });
      const { registry, mirror, manifest, blob, image } = scene;
      await manifest('latest', { method: begin === 'HEAD' ? 'HEAD' : 'GET' });
      if (fault === 'hangs') registry.hang(what, always);
      else registry.status(what, 500, always);
      if (begin === 'blob') await blob(image.config);
      await registry.seen(what);
      const count = registry.requests.length;
      await mirror.abandon();
      t.is(registry.requests.length, count);
      await until('all connections are closed', () => registry.openSockets === 0);
    });
  }
}
