import { Readable } from 'node:stream';
import test from 'ava';
import * as fc from 'fast-check';
import { buildImage } from '../../helpers/image.ts';
import {
  blobsOf,
  isLeftAlone,
  layoutOf,
  named,
  startSite,
  tarOf,
  type Site,
} from './layout-site.ts';

const app = buildImage({ seed: 'app', layers: [20_000, 2_000] });
const FILES = layoutOf([named(app.manifest)], blobsOf(app));

test('a tar that ends early is refused, wherever it ends', async (t) => {
  const site = await startSite(t);
  const tar = await tarOf(FILES.toReversed());
  for (let end = 100; end < tar.length - 1024; end += 2900) {
    const { status } = await site.bring(tar.subarray(0, end), 'app:v1');
    t.is(status, 422, `${end} bytes`);
  }
  await isLeftAlone(t, site, app, 'cut tars');
  // Its last two blocks are empty, and some writers leave them out.
  t.is((await site.bring(tar.subarray(0, -1024), 'app:v1')).status, 200);
});

/** Goes on until it is answered, or for so many chunks. */
async function bringMuch(site: Site, chunk: () => Buffer, most: number) {
  const answered = new AbortController();
  const chunks = function* (): Generator<Buffer> {
    for (let sent = 0; sent < most && !answered.signal.aborted; sent += 1) yield chunk();
  };
  const answer = await site.bring(Readable.from(chunks()), 'app:v1');
  answered.abort();
  return answer;
}

test('tars without an end are refused when they have gone too far', async (t) => {
  const site = await startSite(t);
  const one = (await tarOf([{ name: 'tiny', bytes: 'tiny' }])).subarray(0, 1024);
  const hundred = Buffer.concat(Array<Buffer>(100).fill(one));
  const tiny = await bringMuch(site, () => hundred, 10_000);
  t.regex(tiny.error ?? '', /more than 50000 entries/);
  const pax = (await tarOf([{ name: 'x', pax: { comment: 'x' } }])).subarray(0, 1024);
  const paxes = Buffer.concat(Array<Buffer>(2048).fill(pax));
  t.regex((await bringMuch(site, () => paxes, 2_000)).error ?? '', /more than 268435456 bytes/);
  await isLeftAlone(t, site, app, 'endless tars');
});

test('whatever is changed in a tar, what is held in the end is right', async (t) => {
  const site = await startSite(t);
  const tar = await tarOf(FILES);
  const change = fc.record({
    at: fc.nat(tar.length - 1),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      const changed = Buffer.from(tar);
      for (const { at, bytes } of changes) Buffer.from(bytes).copy(changed, at);
      const { status, error } = await site.bring(changed, 'app:v1');
      if (status !== 200 && status !== 422 && status !== 507) throw new Error(`${status} ${error}`);
      const pulled = await site.pull('manifests/v1');
      if (pulled.status === 200 && !pulled.body.equals(app.manifest.bytes))
        throw new Error('wrong');
    }),
    { numRuns: 30, seed: 1 },
  );
  await site.bring(tar, 'app:v1');
  for (const { digest, bytes } of app.blobs) {
    t.deepEqual((await site.pull(`blobs/${digest}`)).body, bytes);
  }
});
