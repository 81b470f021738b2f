import test from 'ava';
import type { ExecutionContext } from 'ava';
import { MINUTE, SECOND } from '../../helpers/clock.ts';
import { FAMILIES } from '../../helpers/families/all.ts';
import {
  GET_APP,
  HEAD_LATEST,
  causeOf,
  denial,
  heard,
  loginsOf,
  proof,
  spoken,
  startFamily,
  tokenLines,
  usualLogin,
} from '../../helpers/family.ts';
import {
  REPOSITORY,
  UPSTREAM,
  idle,
  refusalOf,
  staleWarning,
  told,
  type Scene,
} from '../../helpers/scene.ts';

const BLOBS = ['config', 'layer0', 'layer1'].map((name) => blobLine(name));

function blobLine(name: string): string {
  return `GET /v2/${REPOSITORY}/blobs/<app.${name}>`;
}

/** As a container runtime does: HEAD of the tag, the manifest, then config and layers. */
async function pull(t: ExecutionContext, { manifest, blob, image }: Scene): Promise<string[]> {
  const head = await manifest('latest', { method: 'HEAD' });
  const answers = [head, await manifest('latest')];
  t.is(head.headers['docker-content-digest'], image.manifest.digest);
  t.deepEqual(answers[1]?.body, image.manifest.bytes);
  for (const stored of image.blobs) {
    const answer = await blob(stored);
    t.deepEqual(answer.body, stored.bytes);
    answers.push(answer);
  }
  return answers.map(({ status, headers }) => `${status} ${String(headers['cache-status'])}`);
}

for (const family of FAMILIES) {
  for (const login of loginsOf(family)) {
    test(`${family.name}: a cold pull, ${login}`, async (t) => {
      const scene = await startFamily(t, family, login, { tags: { ttlMs: MINUTE } });
      t.deepEqual(await pull(t, scene), [
        '200 entrepot; fwd=miss',
        ...BLOBS.concat('').map(() => '200 entrepot; fwd=miss; stored'),
      ]);
      t.deepEqual(spoken(scene.registry), heard(family, login, [HEAD_LATEST, GET_APP, ...BLOBS]));
    });
  }

  test(`${family.name}: a warm pull asks nobody within the ttl`, async (t) => {
    const scene = await startFamily(t, family, undefined, { tags: { ttlMs: MINUTE } });
    await pull(t, scene);
    await idle(scene.mirror);
    scene.registry.clear();
    scene.clock.advance(59 * SECOND);
    t.deepEqual(
      await pull(t, scene),
      BLOBS.concat('', '').map(() => '200 entrepot; hit'),
    );
    t.deepEqual(spoken(scene.registry), []);
  });

  test(`${family.name}: past the ttl one HEAD confirms the tag`, async (t) => {
    const scene = await startFamily(t, family, undefined, { tags: { ttlMs: SECOND } });
    await scene.manifest('latest');
    scene.registry.clear();
    scene.clock.advance(2 * SECOND);
    t.deepEqual(told(await scene.manifest('latest')), {
      status: 200,
      cache: 'entrepot; hit; detail=revalidated',
      age: '0',
    });
    t.deepEqual(
      spoken(scene.registry),
      heard(family, usualLogin(family), [HEAD_LATEST], { isKnown: true }),
    );
  });
}

for (const family of FAMILIES.filter(({ tokenSeconds }) => tokenSeconds)) {
  const login = usualLogin(family);
  const { tokenSeconds = 0 } = family;

  test(`${family.name}: a token is used again, and asked for anew when it ends`, async (t) => {
    const { registry, manifest, clock } = await startFamily(t, family);
    await manifest('latest');
    registry.clear();
    clock.advance(tokenSeconds * SECOND * 0.7);
    t.is((await manifest('latest')).status, 200);
    t.deepEqual(spoken(registry), heard(family, login, [HEAD_LATEST], { isKnown: true }));
    registry.clear();
    clock.advance(tokenSeconds * SECOND * 0.3);
    t.is((await manifest('latest')).status, 200);
    t.deepEqual(spoken(registry), [
      ...tokenLines(family, login),
      ...heard(family, login, [HEAD_LATEST], { isKnown: true }),
    ]);
  });

  test(`${family.name}: a token that is refused in the middle of a pull is replaced`, async (t) => {
    const { registry, manifest, blob, image } = await startFamily(t, family);
    await manifest('latest');
    t.is((await blob(image.config)).status, 200);
    registry.revokeTokens();
    registry.clear();
    for (const layer of image.layers) t.deepEqual((await blob(layer)).body, layer.bytes);
    const lines = BLOBS.slice(1);
    t.deepEqual(spoken(registry), [
      `${lines[0]} [bearer:unknown]`,
      ...tokenLines(family, login, REPOSITORY, true),
      ...heard(family, login, lines, { isKnown: true }),
    ]);
  });
}

for (const family of FAMILIES.filter(({ credentials }) => credentials)) {
  const { wrongCredentials } = family;
  if (!wrongCredentials) throw new Error(`${family.name} does not say how it refuses`);

  test(`${family.name}: a credential that ends in the middle of a pull is told, and held content stays`, async (t) => {
    const scene = await startFamily(t, family, undefined, { tags: { ttlMs: MINUTE } });
    const { registry, manifest, blob, image, clock } = scene;
    await manifest('latest');
    t.is((await blob(image.config)).status, 200);
    await idle(scene.mirror);
    registry.revokeUser();
    registry.revokeTokens();
    registry.clear();
    const shown =
      family.registry.auth?.kind === 'basic' ? proof(family, 'credentials') : 'bearer:unknown';
    const login = 'credentials';
    const again = tokenLines(family, login, REPOSITORY, true);
    t.deepEqual(refusalOf(await blob(image.layer(0))), denial(wrongCredentials, registry, login));
    t.deepEqual(spoken(registry), [`${BLOBS[1]} [${shown}]`, ...again]);
    registry.clear();
    clock.advance(2 * MINUTE);
    t.deepEqual(told(await manifest('latest')), {
      status: 200,
      cache: 'entrepot; hit; detail=stale',
      age: '120',
      warning: staleWarning(`${UPSTREAM}: ${causeOf(wrongCredentials, registry, login)}`),
    });
    t.deepEqual((await blob(image.config)).body, image.config.bytes);
    t.deepEqual(
      spoken(registry),
      family.registry.auth?.kind === 'basic'
        ? [`${HEAD_LATEST} [${shown}]`, `${HEAD_LATEST.replace('HEAD', 'GET')} [${shown}]`]
        : again,
    );
  });
}
