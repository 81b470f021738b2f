/** Work that no client waits for: what one upstream keeps waiting holds up nothing with another one. */
import test, { type ExecutionContext } from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { get, type GetOptions } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';

const SLOW = 'slow.example';
const GOOD = 'good.example';
const always = { times: Infinity, method: 'GET' } as const;
const names = Array.from({ length: 6 }, (_, number) => `t${number}`);

async function start(t: ExecutionContext) {
  const [slow, good] = [await FakeRegistry.start(t), await FakeRegistry.start(t)];
  for (const name of names) {
    slow.addImage('team/app', name, buildImage({ seed: `slow ${name}`, layers: [1000] }));
  }
  const image = buildImage({ seed: 'good', layers: [1000] });
  good.addImage('team/app', 'v1', image, { name: 'app' });
  const mirror = await startMirror(t, {
    upstreams: {
      [SLOW]: { url: slow.url, hydrate: 'blob' },
      [GOOD]: { url: good.url, hydrate: 'blob' },
    },
  });
  const ask = async (upstream: string, path: string, options?: GetOptions): Promise<void> => {
    const answer = await get(`${mirror.url}/v2/team/app/${path}?ns=${upstream}`, options);
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status}`);
  };
  return { slow, good, image, mirror, ask };
}

test('polled manifests of an upstream that does not answer hold up none of another one', async (t) => {
  const { slow, good, image, ask } = await start(t);
  const gate = slow.hang(/manifests\/sha256/, always);
  for (const name of names) await ask(SLOW, `manifests/${name}`, { method: 'HEAD' });
  await gate.arrived();
  await slow.seen(/manifests\/sha256/, 2);
  await ask(GOOD, 'manifests/v1', { method: 'HEAD' });
  await good.seen(image.manifest);
  t.false(gate.isOpen);
  gate.open();
});

test('images of an upstream whose layers do not come hold up the completion of none of another one', async (t) => {
  const { slow, good, image, mirror, ask } = await start(t);
  const layers = names.map((name) => buildImage({ seed: `slow ${name}`, layers: [1000] }));
  const gates = layers.map((each) => slow.hang(each.layer(0), always));
  for (const [number, name] of names.entries()) {
    await ask(SLOW, `manifests/${name}`);
    await ask(SLOW, `blobs/${layers[number]!.config.digest}`);
  }
  await Promise.race(gates.map(async (gate) => gate.arrived()));
  await ask(GOOD, 'manifests/v1');
  await ask(GOOD, `blobs/${image.config.digest}`);
  await good.seen(image.layer(0));
  t.true(gates.every(({ isOpen }) => !isOpen));
  for (const gate of gates) gate.open();
  await mirror.idle();
  t.truthy(await mirror.server.blobs.find(parseDigest(image.layer(0).digest)));
});
