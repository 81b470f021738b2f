import test from 'ava';
import { REPOSITORY } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';
import { messageOf, startGuarded, type Guarded } from './guarded.ts';
import { KeyHolder } from './signing.ts';

/** Whoever may push to the upstream attaches what they like; each is another one. */
function attachJunk({ registry, image }: Guarded): void {
  const stranger = new KeyHolder();
  for (let n = 0; n < 300; n += 1) stranger.attach(registry, REPOSITORY, image.manifest);
}

for (const way of ['attach', 'attachByTag'] as const) {
  test(`three hundred signatures of a stranger do not hide the one that counts: ${way}`, async (t) => {
    const scene = await startGuarded(t);
    const { registry, image, manifest, signer, clock } = scene;
    attachJunk(scene);
    const refused = await until('all of them are looked at', async () => {
      const answer = await manifest('latest');
      return answer.status === 503 ? undefined : answer;
    });
    t.is(refused.status, 403);
    t.regex(messageOf(refused), /and 299 more signatures that do not count/);
    signer[way](registry, REPOSITORY, image.manifest);
    clock.advance(30_000);
    registry.clear();
    t.is((await manifest('latest')).status, 200);
    // What does not count is held, and not fetched again.
    const fetched = registry.conversation().filter((line) => /GET .*\/blobs\//.test(line));
    t.is(fetched.length, 1);
  });
}
