/** Bundles at a site without a link: what is put in force, what is refused, and what stays as it was. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { SigningKey } from '../../../sync/bundle/signing-key.ts';
import { buildImage, type Image } from '../../helpers/image.ts';
import { get } from '../../helpers/client.ts';
import type { TestMirror } from '../../helpers/mirror.ts';
import {
  bring,
  bundleOf,
  COURIER,
  pull,
  REGISTRY,
  startAirGapped,
  trusted,
} from './brought-bundle.ts';
import { SERIES } from './made-bundle.ts';

const APP = buildImage({ seed: 'app', layers: [30_000, 5_000] });
const NEXT = buildImage({ seed: 'next', layers: [40_000] });
const TOOL = buildImage({ seed: 'tool', layers: [2_000] });

async function readAll(mirror: TestMirror, repository: string, image: Image): Promise<boolean[]> {
  return Promise.all(
    image.blobs.map(async ({ digest, bytes }) => {
      const url = `${mirror.url}/v2/${repository}/blobs/${digest}?ns=${REGISTRY}`;
      const { status, body } = await get(url);
      return status === 200 && body.equals(bytes);
    }),
  );
}

async function ask(mirror: TestMirror, path: string): Promise<Record<string, unknown>> {
  return JSON.parse(String((await get(`${mirror.server.adminUrl}${path}`)).body));
}

test('a bundle is served from its last byte on, pinned, and told', async (t) => {
  const site = await startAirGapped(t);
  const bundle = bundleOf([
    { image: APP, repository: 'org/app', tag: 'v1' },
    { image: TOOL, repository: 'org/tool', tag: 'latest' },
  ]);
  const { status, body } = await bring(site, await bundle.part(1));
  t.is(status, 200, JSON.stringify(body));
  t.like(body, { number: 1, received: [1], awaited: [] });
  t.like(body['report'], { images: 2, blobs: 7 });
  const tagged = await pull(site, 'org/app', 'v1');
  t.deepEqual([tagged.status, tagged.body], [200, APP.manifest.bytes]);
  t.deepEqual(await readAll(site, 'org/app', APP), [true, true, true]);
  t.deepEqual(await readAll(site, 'org/tool', TOOL), [true, true]);
  // Of another repository they are none.
  const other = `${site.url}/v2/org/tool/blobs/${APP.layer(0).digest}?ns=${REGISTRY}`;
  t.is((await get(other)).status, 504);
  const { pins } = (await ask(site, '/api/v1/pins')) as {
    pins: { image: string; origin: string }[];
  };
  t.deepEqual(pins.map(({ image, origin }) => `${origin} ${image}`).toSorted(), [
    `sync ${REGISTRY}/org/app@${APP.manifest.digest}`,
    `sync ${REGISTRY}/org/tool@${TOOL.manifest.digest}`,
  ]);
  t.like(await ask(site, '/api/v1/bundles'), {
    awaited: [],
    applied: [{ series: SERIES, number: 1 }],
  });
});

test('a pin names each tag under which bundles brought its image', async (t) => {
  const site = await startAirGapped(t);
  for (const [number, tag] of [
    [1, 'v1'],
    [2, 'stable'],
  ] as const) {
    const bundle = bundleOf([{ image: APP, repository: 'org/app', tag }], { manifest: { number } });
    t.is((await bring(site, await bundle.part(1))).status, 200);
  }
  const { pins } = (await ask(site, '/api/v1/pins')) as { pins: { tags: string[] }[] };
  t.deepEqual(
    pins.map(({ tags }) => tags),
    [['stable', 'v1']],
  );
});

test('an image that a bundle keeps is not removed, and who asks is told what lets it go', async (t) => {
  const site = await startAirGapped(t);
  const bundle = bundleOf([{ image: APP, repository: 'org/app', tag: 'v1' }]);
  t.is((await bring(site, await bundle.part(1))).status, 200);
  const { status, body } = await get(`${site.server.adminUrl}/api/v1/rm`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ image: `${REGISTRY}/org/app:v1` }),
  });
  t.is(status, 409);
  t.regex(
    String(body),
    new RegExp(`a bundle of series ${SERIES} brought it; one that is made for`),
  );
});

test('until all of it is here a client sees what was before; then all tags mean the new images', async (t) => {
  const site = await startAirGapped(t, { store: { minFreeBytes: 0 } });
  const first = bundleOf([{ image: APP, repository: 'org/app', tag: 'v1' }]);
  t.is((await bring(site, await first.part(1))).status, 200);
  const images = [
    { image: NEXT, repository: 'org/app', tag: 'v1' },
    { image: TOOL, repository: 'org/tool', tag: 'latest' },
  ];
  const second = bundleOf(images, { partBytes: 20_000, manifest: { number: 2 } });
  t.true(second.parts >= 3, String(second.parts));
  const order = Array.from({ length: second.parts }, (_, place) => second.parts - place);
  for (const part of order) {
    t.deepEqual((await pull(site, 'org/app', 'v1')).body, APP.manifest.bytes);
    t.not((await pull(site, 'org/tool', 'latest')).status, 200);
    t.not((await pull(site, 'org/app', NEXT.manifest.digest)).status, 200);
    const { status, body } = await bring(site, await second.part(part));
    t.is(status, 200, JSON.stringify(body));
    t.deepEqual(
      body['awaited'],
      order.filter((each) => each < part).toSorted((a, b) => a - b),
    );
  }
  t.deepEqual((await pull(site, 'org/app', 'v1')).body, NEXT.manifest.bytes);
  t.deepEqual((await pull(site, 'org/tool', 'latest')).body, TOOL.manifest.bytes);
  t.deepEqual(await readAll(site, 'org/app', NEXT), [true, true]);
  // The image of before is held until room is needed, and is pinned no more.
  const { pins } = (await ask(site, '/api/v1/pins')) as { pins: { image: string }[] };
  t.false(pins.some(({ image }) => image.endsWith(APP.manifest.digest)));
  t.deepEqual((await pull(site, 'org/app', APP.manifest.digest)).status, 200);
});

test('parts that came before a restart are not awaited again', async (t) => {
  const first = await startAirGapped(t, { leftovers: { partials: true } });
  const bundle = bundleOf([{ image: NEXT, repository: 'org/app', tag: 'v1' }], {
    partBytes: 20_000,
  });
  await bring(first, await bundle.part(2));
  await first.stop();
  const { storePath } = first;
  const site = await startAirGapped(t, { storePath });
  t.like(await ask(site, '/api/v1/bundles'), { awaited: [{ received: [2] }] });
  for (let part = 1; part <= bundle.parts; part += 1) {
    if (part !== 2) await bring(site, await bundle.part(part));
  }
  t.deepEqual((await pull(site, 'org/app', 'v1')).body, NEXT.manifest.bytes);
  t.deepEqual(await readAll(site, 'org/app', NEXT), [true, true]);
});

test('an increment builds on what the site holds; without that it is refused, and says what is missing', async (t) => {
  const site = await startAirGapped(t);
  const image = { image: APP, repository: 'org/app', tag: 'v2' };
  const held = [APP.layer(0), APP.config];
  const increment = bundleOf([image], { held, manifest: { number: 2 } });
  const refused = await bring(site, await increment.part(1));
  t.is(refused.status, 409);
  t.regex(
    String(refused.body['error']),
    /^this site lacks 2 blobs that the bundle builds on \(sha256:/,
  );
  t.like(refused.body, { detail: { code: 'needs' } });
  t.deepEqual(await ask(site, '/api/v1/bundles'), { awaited: [], applied: [] });
  const full = bundleOf([{ ...image, tag: 'v1' }]);
  t.is((await bring(site, await full.part(1))).status, 200);
  const { status, body } = await bring(site, await increment.part(1));
  t.is(status, 200, JSON.stringify(body));
  t.like(body['report'], { blobs: 0 });
  t.deepEqual((await pull(site, 'org/app', 'v2')).body, APP.manifest.bytes);
});

test('the same bundle twice changes nothing; an older one is refused unless it is asked for', async (t) => {
  const site = await startAirGapped(t);
  const older = bundleOf([{ image: APP, repository: 'org/app', tag: 'v1' }], {
    manifest: { number: 3 },
  });
  const newer = bundleOf([{ image: NEXT, repository: 'org/app', tag: 'v1' }], {
    manifest: { number: 4 },
  });
  for (const bundle of [older, newer, newer]) {
    t.is((await bring(site, await bundle.part(1))).status, 200);
  }
  const refused = await bring(site, await older.part(1));
  t.is(refused.status, 409);
  t.is(
    refused.body['error'],
    'this bundle has number 3, and number 4 of its series is in force: import a newer one, or this one with --allow-older',
  );
  t.deepEqual((await pull(site, 'org/app', 'v1')).body, NEXT.manifest.bytes);
  const { status, body } = await bring(site, await older.part(1), { allowOlder: true });
  t.is(status, 200);
  t.deepEqual((body['report'] as { moved: unknown }).moved, [
    { image: `${REGISTRY}/org/app:v1`, digest: APP.manifest.digest, before: NEXT.manifest.digest },
  ]);
  t.deepEqual((await pull(site, 'org/app', 'v1')).body, APP.manifest.bytes);
});

test('what another key signed, or one that may not, brings nothing', async (t) => {
  const other = SigningKey.generate('p256');
  const site = await startAirGapped(t, {
    bundles: { trust: { lab: trusted(other, ['trust']), courier: trusted(COURIER) } },
  });
  const image = { image: APP, repository: 'org/app', tag: 'v1' };
  const refusals = [
    [
      bundleOf([image], { key: SigningKey.generate() }),
      422,
      /is not signed by a key that is trusted here/,
    ],
    [bundleOf([image], { key: other }), 422, /^the key lab may not bring images/],
  ] as const;
  for (const [bundle, status, message] of refusals) {
    const refused = await bring(site, await bundle.part(1));
    t.is(refused.status, status);
    t.regex(String(refused.body['error']), message);
  }
  t.not((await pull(site, 'org/app', 'v1')).status, 200);
  const { body } = await bring(
    site,
    await bundleOf([image], { files: { 'root.json': Buffer.from('{}') } }).part(1),
  );
  t.like(body['report'], { files: [], refusedFiles: ['root.json'] });
  t.false(existsSync(join(site.storePath, 'bundles', 'root.json')));
});

test('files that came with a key that may bring them are in place, and take the place of older ones', async (t) => {
  const site = await startAirGapped(t);
  for (const [number, text] of [
    [1, 'one'],
    [2, 'two'],
  ] as const) {
    const bundle = bundleOf([], {
      files: { 'root.json': Buffer.from(text) },
      manifest: { number },
    });
    const { status, body } = await bring(site, await bundle.part(1));
    t.is(status, 200, JSON.stringify(body));
    const path = join(site.storePath, 'bundles', 'root.json');
    t.like(body['report'], { files: [path], refusedFiles: [] });
    t.is(readFileSync(path, 'utf8'), text);
  }
});

test('a registry that the site does not serve, and a site without a key, refuse before anything is written', async (t) => {
  const bundle = bundleOf([{ image: APP, repository: 'org/app', tag: 'v1' }]);
  const upstreams = { 'other.example': { url: 'http://127.0.0.1:9' } };
  const other = await startAirGapped(t, { upstreams });
  const refused = await bring(other, await bundle.part(1));
  t.is(
    refused.body['error'],
    `this site does not serve what the bundle brings from ${REGISTRY}: add it to upstreams, and reload the configuration`,
  );
  const keyless = await startAirGapped(t, { bundles: { trust: {} } });
  t.regex(
    String((await bring(keyless, await bundle.part(1))).body['error']),
    /^this site trusts no key/,
  );
  for (const site of [other, keyless]) {
    t.is((await ask(site, '/api/v1/store'))['blobs'] ?? 0, 0);
  }
});

test('a flipped bit anywhere is refused, and leaves the store as clients see it', async (t) => {
  const site = await startAirGapped(t);
  const bundle = bundleOf([{ image: TOOL, repository: 'org/tool', tag: 'v1' }]);
  const part = await bundle.part(1);
  for (let place = 0; place < part.length; place += 997) {
    const bytes = Buffer.from(part);
    bytes[place] = (bytes[place] ?? 0) ^ 1;
    const { status, body } = await bring(site, bytes);
    t.is(status, 422, `${place}: ${JSON.stringify(body)}`);
  }
  t.not((await pull(site, 'org/tool', 'v1')).status, 200);
  t.is((await bring(site, part)).status, 200);
});

test('images that a series has released may be evicted; those of another series stay', async (t) => {
  const site = await startAirGapped(t);
  const bundles = [
    bundleOf([{ image: APP, repository: 'org/app', tag: 'v1' }]),
    bundleOf([{ image: TOOL, repository: 'org/tool', tag: 'v1' }], {
      manifest: { series: SERIES.replace('5a', '6b') },
    }),
    bundleOf([{ image: NEXT, repository: 'org/next', tag: 'v1' }], {
      manifest: { number: 2, released: [`${REGISTRY}/org/app:v1`, `${REGISTRY}/org/tool:v1`] },
    }),
  ];
  for (const bundle of bundles) t.is((await bring(site, await bundle.part(1))).status, 200);
  const { pins } = (await ask(site, '/api/v1/pins')) as { pins: { image: string }[] };
  t.deepEqual(pins.map(({ image }) => image).toSorted(), [
    `${REGISTRY}/org/next@${NEXT.manifest.digest}`,
    `${REGISTRY}/org/tool@${TOOL.manifest.digest}`,
  ]);
});
