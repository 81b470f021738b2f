/** The configuration of nginx before a mirror: what a client gets through it, and what the mirror knows of the client. */
import { Agent } from 'node:https';
import type { ExecutionContext } from 'ava';
import { get, open, type GetOptions } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';
import { missingPackages, testUnless } from '../helpers/needs.ts';
import { until } from '../helpers/until.ts';
import { startNginx } from './nginx-site.ts';

const MIB = 1024 * 1024;

const test = testUnless('nginx', missingPackages('nginx'));

/** Nginx before a mirror of one registry. */
async function startSite(t: ExecutionContext) {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 'front', layers: [4 * MIB] });
  registry.addImage('library/app', 'v1', image);
  const mirror = await startMirror(t, {
    upstreams: { 'hub.example': { url: registry.url } },
    trustProxy: ['127.0.0.1'],
  });
  const { url, ca } = await startNginx(t, mirror.url);
  const options = { tls: { ca } };
  const ask = async (path: string, more: GetOptions = {}) =>
    get(`${url}/v2/library/app/${path}`, { ...options, ...more });
  return { registry, image, mirror, url, ask, options };
}

test('through nginx: an image with its headers, ranges, and errors as they are', async (t) => {
  const { image, mirror, ask } = await startSite(t);
  const manifest = await ask('manifests/v1');
  t.true(manifest.body.equals(image.manifest.bytes));
  t.is(manifest.headers['docker-content-digest'], image.manifest.digest);
  const layer = image.layer(0);
  const blob = await ask(`blobs/${layer.digest}`);
  t.true(blob.body.equals(layer.bytes));
  t.is(blob.headers['content-encoding'], undefined);
  await mirror.idle();
  const part = await ask(`blobs/${layer.digest}`, { headers: { range: 'bytes=10-19' } });
  t.deepEqual([part.status, part.body], [206, layer.bytes.subarray(10, 20)]);
  const missing = await ask('manifests/none');
  t.is(missing.status, 404);
  t.regex(missing.body.toString(), /MANIFEST_UNKNOWN/);
  const long = await ask('manifests/v1', {
    headers: { authorization: 'Bearer '.padEnd(12_000, 'x') },
  });
  t.is(long.status, 200);
});

test('through nginx: bytes of a cold blob come before it is whole', async (t) => {
  const { image, registry, ask, url, options } = await startSite(t);
  await ask('manifests/v1');
  const layer = image.layer(0);
  const held = registry.hold(layer, { method: 'GET', after: MIB });
  const coming = await open(`${url}/v2/library/app/blobs/${layer.digest}`, options);
  const first = await coming.read(MIB / 2);
  t.true(first.length >= MIB / 2 && first.equals(layer.bytes.subarray(0, first.length)));
  held.open();
  t.true((await coming.rest()).equals(layer.bytes.subarray(first.length)));
});

test('behind nginx the log has the address of the client, whatever the client says of it', async (t) => {
  const { mirror, ask, options } = await startSite(t);
  const agent = new Agent({ localAddress: '127.0.0.9', ca: options.tls.ca });
  await ask('manifests/v1', {
    agent,
    headers: {
      'x-forwarded-for': '203.0.113.9',
      forwarded: 'for=203.0.113.9',
      'user-agent': 'one',
    },
  });
  await until('the line', () => mirror.log.some(({ agent }) => agent === 'one'));
  t.is(mirror.log.find(({ agent }) => agent === 'one')?.['client'], '127.0.0.9');
});
