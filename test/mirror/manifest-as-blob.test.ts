/** A held manifest whose digest is asked for as a blob: some registries have it, others say 404. */
import test from 'ava';
import { get } from '../helpers/client.ts';
import { HOUR, MINUTE } from '../helpers/clock.ts';
import { startMirror } from '../helpers/mirror.ts';
import { refusalOf, REPOSITORY, startScene, UPSTREAM } from '../helpers/scene.ts';

const PATH = `/v2/${REPOSITORY}/blobs/<app>`;
const HEAD = `HEAD ${PATH}`;
const BY_GET = `GET ${PATH} bytes=0-0`;
const METHODS = ['GET', 'HEAD'] as const;

for (const isBlob of [true, false]) {
  const said = isBlob ? 'a blob too' : 'no blob';

  test(`a held manifest that is ${said} at the registry is ${said} here, asked once and kept while it is away`, async (t) => {
    const { registry, mirror, manifest, blob, image, clock } = await startScene(t, {
      tags: { ttlMs: HOUR, negativeTtlMs: MINUTE },
    });
    if (isBlob) registry.addBlob(REPOSITORY, image.manifest);
    const { digest, bytes } = image.manifest;
    await manifest(digest);
    registry.clear();
    const status = isBlob ? 200 : 404;
    for (const method of METHODS) {
      const answer = await blob(image.manifest, { method });
      t.is(answer.status, status);
      if (isBlob && method === 'GET') t.deepEqual(answer.body, bytes);
    }
    const asked = isBlob ? [HEAD] : [HEAD, BY_GET];
    t.deepEqual(registry.conversation(), asked);
    if (!isBlob) t.is(refusalOf(await blob(image.manifest))['code'], 'BLOB_UNKNOWN');
    clock.advance(MINUTE);
    t.is((await blob(image.manifest)).status, status);
    t.deepEqual(registry.conversation(), isBlob ? asked : [...asked, ...asked]);
    // As a manifest it is held.
    t.is((await manifest(digest)).status, 200);
    clock.advance(HOUR);
    await registry.refuse();
    t.is((await blob(image.manifest)).status, 200);
    await mirror.stop();
    registry.clear();
    for (const offline of [false, true]) {
      const again = await startMirror(t, {
        clock,
        storePath: mirror.storePath,
        offline,
        upstreams: { [UPSTREAM]: { url: registry.url } },
      });
      for (const method of METHODS) {
        const answer = await get(`${again.url}/v2/${REPOSITORY}/blobs/${digest}`, { method });
        t.is(answer.status, 200);
        if (method === 'GET') t.deepEqual(answer.body, bytes);
      }
      await again.stop();
    }
    t.deepEqual(registry.conversation(), []);
  });
}

test('a fault that is an answer is told of a manifest as a blob as well', async (t) => {
  const { registry, manifest, blob, image } = await startScene(t);
  await manifest('latest');
  registry.status(({ path }) => path.includes('/blobs/'), 403, { times: Infinity });
  for (const method of METHODS) t.is((await blob(image.manifest, { method })).status, 403);
  registry.heal();
  registry.status(({ path }) => path.includes('/blobs/'), 503, { times: Infinity });
  for (const method of METHODS) t.is((await blob(image.manifest, { method })).status, 200);
});
