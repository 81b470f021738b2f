/** Right bytes that call themselves a page, as stores and proxies label what they do not know. */
import test from 'ava';
import { MINUTE } from '../helpers/clock.ts';
import { refusalOf, REPOSITORY, startScene, UPSTREAM } from '../helpers/scene.ts';

const always = { times: Infinity };
const METHODS = ['HEAD', 'GET'] as const;
const MANIFEST = /\/manifests\//;
const BLOB = /\/blobs\//;

for (const type of ['text/html', 'text/html; charset=utf-8']) {
  for (const named of [true, false]) {
    test(`an image under ${type} is pulled, ${named ? 'also' : 'even'} with${named ? '' : 'out'} digests in its headers`, async (t) => {
      const { registry, manifest, blob, image, clock } = await startScene(t, {
        tags: { ttlMs: MINUTE },
      });
      registry.contentType(/./, type, always);
      if (!named) registry.omitHeaders(/./, ['Docker-Content-Digest'], always);
      const { digest, bytes } = image.manifest;
      for (const method of METHODS) {
        for (const reference of ['latest', digest]) {
          const answer = await manifest(reference, { method });
          t.is(answer.status, 200, `${method} ${reference}`);
          t.is(answer.headers['content-type'], image.manifest.mediaType);
          t.is(answer.headers['docker-content-digest'], digest);
          if (method === 'GET') t.deepEqual(answer.body, bytes);
        }
        const answer = await blob(image.layer(0), { method });
        t.is(answer.status, 200, `${method} blob`);
        if (method === 'GET') t.deepEqual(answer.body, image.layer(0).bytes);
      }
      clock.advance(2 * MINUTE);
      const again = await manifest('latest');
      t.is(again.headers['cache-status'], 'entrepot; hit; detail=revalidated');
      // Of a range, the whole length is compared.
      t.deepEqual((await blob(image.layer(1), { headers: { Range: 'bytes=5-9' } })).status, 206);
    });
  }
}

test('the page of a portal is no manifest and no blob, whatever is asked for', async (t) => {
  const { registry, manifest, blob, image } = await startScene(t);
  const page = { ...always, body: '<h1>Sign in</h1>', contentType: 'text/html' };
  const message = `${UPSTREAM}: ${registry.host} sent an HTML page`;
  registry.status(MANIFEST, 200, page);
  for (const reference of ['latest', image.manifest.digest]) {
    t.like(refusalOf(await manifest(reference)), { status: 502, message });
    t.is((await manifest(reference, { method: 'HEAD' })).status, 502);
  }
  registry.heal();
  await manifest('latest');
  registry.status(BLOB, 200, page);
  t.like(refusalOf(await blob(image.layer(0))), { status: 502, message });
  t.is((await blob(image.layer(0), { method: 'HEAD' })).status, 502);
  registry.heal();
  t.is((await blob(image.layer(0))).status, 200);
  t.true(registry.conversation().every((line) => line.includes(REPOSITORY)));
});
