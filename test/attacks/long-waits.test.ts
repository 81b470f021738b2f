/** What waits for its turn while others have all places does not wait for ever, and is not lost. */
import { mock } from 'node:test';
import test, { type ExecutionContext } from 'ava';
import { get, open } from '../helpers/client.ts';
import { HOUR, MINUTE } from '../helpers/clock.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildBlob, buildImage } from '../helpers/image.ts';
import { startMirror, type MirrorOptions } from '../helpers/mirror.ts';
import { until } from '../helpers/until.ts';

const MIB = 1024 * 1024;
const REPOSITORY = 'team/app';

/** An upstream of one place, with a large blob that does not come to its end. */
async function startSite(t: ExecutionContext, timing: MirrorOptions['timing']) {
  const registry = await FakeRegistry.start(t);
  const mirror = await startMirror(t, {
    upstreams: { 'hub.example': { url: registry.url, concurrency: 1, hydrate: 'blob' } },
    timing: { turnMs: 20 * MINUTE, stallMs: HOUR, ...timing },
  });
  const first = registry.addBlob(REPOSITORY, buildBlob('first', 2 * MIB), { name: 'first' });
  return { registry, mirror, first, base: `${mirror.url}/v2/${REPOSITORY}` };
}

test.serial(
  'hydration without a turn for ten minutes stays due, once, and is done when there is one',
  async (t) => {
    const { registry, mirror, first, base } = await startSite(t, { hydrateMs: 300 });
    const image = buildImage({ seed: t.title, layers: [2 * MIB, 2 * MIB] });
    registry.addImage(REPOSITORY, 'v1', image, { name: 'app' });
    await get(`${base}/manifests/v1`);
    await get(`${base}/blobs/${image.config.digest}`);
    mock.timers.enable({ apis: ['setInterval'] });
    t.teardown(() => mock.timers.reset());
    const gate = registry.hold(first, { before: 'headers' });
    const pulling = get(`${base}/blobs/${first.digest}`);
    await gate.arrived();
    registry.clear();
    const waits = async (): Promise<boolean> =>
      (await mirror.server.metrics.queueWaiting.get()).values[0]?.value === 1;
    for (const round of [1, 2]) {
      for (const [n] of image.layers.entries()) {
        await until('a layer waits', waits);
        mock.timers.tick(10 * MINUTE);
        await mirror.logged('download', (round - 1) * image.layers.length + n + 1);
      }
      await mirror.logged('not completed yet', round);
      t.is(mirror.server.hydrations(), 1);
    }
    t.deepEqual(
      registry.conversation().filter((line) => line.includes('/blobs/')),
      [],
    );
    mock.timers.reset();
    gate.open();
    await pulling;
    await until('it is completed', () => mirror.server.hydrations() === 0);
    t.deepEqual(
      registry.conversation().filter((line) => line.includes('/blobs/')),
      image.layers.map((_layer, n) => `GET /v2/${REPOSITORY}/blobs/<app.layer${n}>`),
    );
  },
);

test.serial(
  'a client that has its headers waits five minutes for more, and whoever asks then goes on',
  async (t) => {
    const { registry, mirror, first, base } = await startSite(t, { firstByteMs: HOUR });
    const gate = registry.hold(first, { after: 1000 });
    const second = registry.addBlob(REPOSITORY, buildBlob('second', 2 * MIB), { name: 'second' });
    mock.timers.enable({ apis: ['setTimeout'] });
    t.teardown(() => mock.timers.reset());
    const running = await open(`${base}/blobs/${first.digest}`);
    await running.read(1000);
    const waiting = await open(`${base}/blobs/${second.digest}`);
    t.is(waiting.headers['content-length'], String(2 * MIB));
    mock.timers.tick(4 * MINUTE);
    t.false(mirror.log.some(({ msg }) => msg === 'request'));
    mock.timers.tick(MINUTE);
    await mirror.logged('request', 2);
    await Promise.all([t.throwsAsync(running.rest()), t.throwsAsync(waiting.rest())]);
    for (const line of mirror.log.filter(({ msg }) => msg === 'request')) {
      t.like(line, {
        status: 200,
        cut: true,
        err: { message: 'no bytes for the rest of an answer within 300000 ms' },
      });
    }
    mock.timers.reset();
    gate.open();
    t.true((await get(`${base}/blobs/${second.digest}`)).body.equals(second.bytes));
    t.true((await get(`${base}/blobs/${first.digest}`)).body.equals(first.bytes));
    // The one that nobody reads gives its place to the one that is asked for, and goes on.
    t.deepEqual(
      registry.conversation().map((line) => line.replace(/bytes=.*$/, 'goes on')),
      [
        `GET /v2/${REPOSITORY}/blobs/<first>`,
        `HEAD /v2/${REPOSITORY}/blobs/<second>`,
        `GET /v2/${REPOSITORY}/blobs/<second>`,
        `GET /v2/${REPOSITORY}/blobs/<first> goes on`,
      ],
    );
  },
);
