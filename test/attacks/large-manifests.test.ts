/** Manifests of 4 MiB, as many at once as clients ask for, take bounded memory. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { get } from '../helpers/client.ts';
import { injure } from '../faults/injury.ts';
import { digestOf, MEDIA_TYPES, storeJson, type Stored } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { MirrorProcess } from '../helpers/process.ts';
import { REPOSITORY, startScene } from '../helpers/scene.ts';
import { serve } from '../helpers/serve.ts';
import { resident } from './long/resident.ts';

const MIB = 1024 * 1024;
const MANIFESTS = 100;
/** A mirror that does little has 170 MiB; all of the manifests, once each, are 400 MiB more. */
const MOST_RESIDENT_MIB = 450;
const PATH = '/v2/team/app/manifests';

/** Each with a digest of its own. */
function manifest(number: number, size: number): Buffer {
  const text = JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.index,
    manifests: [],
    annotations: { number: String(number), padding: '' },
  });
  return Buffer.from(text.replace('"padding":"', `"padding":"${'x'.repeat(size - text.length)}`));
}

/** Manifests of 4 MiB by their digests, and a small one that is called `small`. */
async function startSite(t: ExecutionContext) {
  const digests = new Map<string, number>();
  for (let number = 0; number < MANIFESTS; number += 1) {
    digests.set(digestOf(manifest(number, 4 * MIB)), number);
  }
  const registry = createServer(({ method, url = '' }, response) => {
    const number = digests.get(url.split('/').at(-1) ?? '');
    const isSmall = url === `${PATH}/small`;
    if (number === undefined && !isSmall) return void response.writeHead(404).end();
    const bytes = isSmall ? manifest(0, 1_000) : manifest(number ?? 0, 4 * MIB);
    response.writeHead(200, {
      'Content-Type': MEDIA_TYPES.index,
      'Content-Length': bytes.length,
      'Docker-Content-Digest': isSmall ? digestOf(bytes) : (url.split('/').at(-1) ?? ''),
    });
    response.end(method === 'HEAD' ? undefined : bytes);
  });
  const { href } = await serve(t, registry);
  const mirror = await MirrorProcess.start(t, await createTempFolder(t), {
    upstreams: { 'docker.io': { url: href.replace(/\/$/, ''), hydrate: 'off' } },
  });
  return { mirror, digests: [...digests.keys()] };
}

/** Resolves with the first line of the answer, of which nothing more is read. */
async function askAndStop(t: ExecutionContext, url: string, digest: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port) });
  t.teardown(() => socket.destroy());
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(`GET ${PATH}/${digest} HTTP/1.1\r\nHost: a\r\n\r\n`);
  const [head] = (await once(socket, 'data')) as [Buffer];
  socket.pause();
  return head.toString('latin1').split('\r\n', 1)[0] ?? '';
}

test('manifests of 4 MiB for clients that do not read take bounded memory, and hold up no small one', async (t) => {
  const { mirror, digests } = await startSite(t);
  const peak = resident(t, mirror.pid);
  for (const round of ['cold', 'held']) {
    const asked = digests.map(async (digest) => askAndStop(t, mirror.url, digest));
    t.is((await get(`${mirror.url}${PATH}/small`)).status, 200);
    const lines = await Promise.all(asked);
    t.deepEqual(new Set(lines), new Set(['HTTP/1.1 200 OK']), round);
  }
  const [first = ''] = digests;
  await Promise.all(digests.map(async () => askAndStop(t, mirror.url, first)));
  const whole = await get(`${mirror.url}${PATH}/${digests.at(-1)}`);
  t.is(digestOf(whole.body), digests.at(-1)!);
  t.true(peak.mebibytes < MOST_RESIDENT_MIB, `${peak.mebibytes} MiB resident`);
});

test('a large manifest is held, fetched anew where its file is damaged, and passed on where it is not kept', async (t) => {
  const { registry, mirror, manifest: ask } = await startScene(t);
  const large = ['one', 'other'].map((name) => {
    const text = manifest(name.length, 200_000).toString();
    return registry.addManifest(REPOSITORY, storeJson(JSON.parse(text), MEDIA_TYPES.index), {
      tags: [name],
      name,
    });
  });
  const [one, other] = large as [Stored, Stored];
  for (const reference of ['one', one.digest]) {
    t.true((await ask(reference)).body.equals(one.bytes));
    t.is((await ask(reference, { method: 'HEAD' })).headers['content-length'], String(one.size));
  }
  registry.clear();
  await injure(mirror.storePath, one, 'flipped');
  t.true((await ask(one.digest)).body.equals(one.bytes));
  t.true((await ask(one.digest)).body.equals(one.bytes));
  t.deepEqual(registry.conversation(), [`GET /v2/${REPOSITORY}/manifests/<one>`]);
  const { blobs } = mirror.server;
  blobs.writeBytes = async () => {
    throw Object.assign(new Error('ENOSPC: no space left, write'), { code: 'ENOSPC' });
  };
  const passed = await ask(other.digest);
  t.true(passed.body.equals(other.bytes));
  t.is(passed.headers['cache-status'], 'entrepot; fwd=bypass');
});
