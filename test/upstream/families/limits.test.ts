import test from 'ava';
import { MINUTE, SECOND } from '../../helpers/clock.ts';
import { FAMILIES } from '../../helpers/families/all.ts';
import {
  GET_APP,
  HEAD_LATEST,
  heard,
  spoken,
  startFamily,
  usualLogin,
} from '../../helpers/family.ts';
import { UPSTREAM, refusalOf, staleWarning, told } from '../../helpers/scene.ts';

const WAITS: [what: string, headers: Record<string, string>, wait: number][] = [
  ['429 with Retry-After', { 'Retry-After': '7' }, 7],
  ['429 without Retry-After', {}, 1],
];

for (const family of FAMILIES) {
  const login = usualLogin(family);
  for (const [what, headers, wait] of WAITS) {
    // Another origin's limit blocks no account.
    const isUnblocked = family.registry.front !== undefined && !('Retry-After' in headers);
    test(`${family.name}: ${what} is passed on, and the registry left alone so long`, async (t) => {
      const { registry, manifest, image, clock } = await startFamily(t, family);
      const { digest } = image.manifest;
      registry.status(digest, 429, { headers });
      const { host } = new URL(
        family.registry.front === undefined ? registry.url : registry.storageUrl,
      );
      const reason = `${host} limits the rate of requests (429)${family.limited}`;
      const detail = { upstream: UPSTREAM, fault: 'rate-limited', upstreamStatus: 429 };
      t.deepEqual(refusalOf(await manifest(digest)), {
        status: 429,
        code: 'TOOMANYREQUESTS',
        message: `${UPSTREAM}: ${reason}`,
        // As long as the mirror itself waits; where it does not, the default.
        retryAfter: isUnblocked ? '60' : String(wait),
        detail,
      });
      t.deepEqual(spoken(registry), heard(family, login, [GET_APP]));
      registry.clear();
      // Behind a front it is another origin's limit, which says nothing of the registry's own.
      if (family.registry.front === undefined) {
        t.deepEqual(refusalOf(await manifest(digest)), {
          status: 429,
          code: 'TOOMANYREQUESTS',
          message: `${UPSTREAM}: limits the rate of requests (429), and is not asked before that ends`,
          retryAfter: String(wait),
          detail,
        });
        t.deepEqual(spoken(registry), []);
      }
      clock.advance(wait * SECOND);
      t.deepEqual((await manifest(digest)).body, image.manifest.bytes);
      t.deepEqual(spoken(registry), heard(family, login, [GET_APP], { isKnown: true }));
    });
  }

  test(`${family.name}: a held tag is served stale while the registry limits requests`, async (t) => {
    const { registry, manifest, image, clock } = await startFamily(t, family);
    await manifest('latest');
    registry.clear();
    clock.advance(MINUTE / 2);
    registry.status('latest', 429, { headers: { 'Retry-After': '7' }, times: Infinity });
    const { host } = new URL(
      family.registry.front === undefined ? registry.url : registry.storageUrl,
    );
    const answer = await manifest('latest');
    t.deepEqual(told(answer), {
      status: 200,
      cache: 'entrepot; hit; detail=stale',
      age: '30',
      // A HEAD has no body that could say more.
      warning: staleWarning(`${UPSTREAM}: ${host} limits the rate of requests (429)`),
    });
    t.deepEqual(answer.body, image.manifest.bytes);
    t.deepEqual(spoken(registry), heard(family, login, [HEAD_LATEST], { isKnown: true }));
  });
}
