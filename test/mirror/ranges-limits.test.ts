/** What ranges of cold blobs cost beside others: files that stay open, and a transfer of the whole in their way. */
import test from 'ava';
import { get, open } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';
import type { RecordedRequest } from '../helpers/recorded-request.ts';
import { until } from '../helpers/until.ts';

const MIB = 1024 * 1024;
const REPOSITORY = 'library/app';
const leftovers = { partials: true };

test('of many blobs that are read in part a hundred stay open', async (t) => {
  const registry = await FakeRegistry.start(t);
  const count = 110;
  const layers = Array.from({ length: count }, (_, at) => 300_000 + at);
  const image = buildImage({ seed: t.title, layers });
  registry.addImage(REPOSITORY, 'latest', image);
  const upstreams = { 'docker.io': { url: registry.url } };
  const timing = { idleMs: 10 * 60_000 };
  const mirror = await startMirror(t, { upstreams, leftovers, timing });
  await get(`${mirror.url}/v2/${REPOSITORY}/manifests/latest`);
  const ask = async (at: number): Promise<void> => {
    const { digest, bytes } = image.layer(at);
    const url = `${mirror.url}/v2/${REPOSITORY}/blobs/${digest}`;
    const { status, body } = await get(url, { headers: { range: 'bytes=10-19' } });
    t.is(status, 206);
    t.true(body.equals(bytes.subarray(10, 20)));
  };
  for (let at = 0; at < count; at += 1) await ask(at);
  await until('a hundred', () => mirror.server.activity().openFiles === 100);
  registry.clear();
  // What was let go of is here all the same.
  await ask(0);
  t.is(registry.requests.length, 0);
  await mirror.abandon();
});

test('a transfer of the whole that has come near a range meanwhile leaves it to who brings it', async (t) => {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: t.title, layers: [24 * MIB] });
  const blob = image.layer(0);
  registry.addImage(REPOSITORY, 'latest', image);
  const upstreams = { 'docker.io': { url: registry.url } };
  const mirror = await startMirror(t, { upstreams, leftovers, timing: { rangeMs: 1 } });
  await get(`${mirror.url}/v2/${REPOSITORY}/manifests/latest`);
  registry.clear();
  const url = `${mirror.url}/v2/${REPOSITORY}/blobs/${blob.digest}`;
  const isRange = ({ range }: RecordedRequest): boolean => range !== undefined;
  const isWhole = (request: RecordedRequest): boolean => !isRange(request);
  registry.slow(isWhole, { bytesPerSecond: 4 * MIB });
  const gate = registry.hold(isRange, { before: 'headers' });
  const whole = await open(url);
  await whole.read(1000);
  const [start, end] = [12 * MIB, 16 * MIB];
  const part = get(url, { headers: { range: `bytes=${start}-${end - 1}` } });
  await gate.arrived();
  // Nearer than what would have been left to it.
  const rest = whole.rest();
  await until('it is near', () => (registry.requests.find(isWhole)?.bytesSent ?? 0) > 5 * MIB);
  gate.open();
  t.true((await part).body.equals(blob.bytes.subarray(start, end)));
  t.true(Buffer.concat([blob.bytes.subarray(0, 1000), await rest]).equals(blob.bytes));
  const first = registry.requests.find(isWhole)!;
  t.true(first.bytesSent < end, String(first.bytesSent));
  await mirror.stop();
});
