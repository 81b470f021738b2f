/**
 * An upstream that sends the headers of an answer and then nothing, or a byte now and then: every
 * question has an end, and what comes after it is asked anew.
 */
import test from 'ava';
import { Gate } from '../helpers/gate.ts';
import { buildBlob, buildImage } from '../helpers/image.ts';
import { REPOSITORY, refusalOf, startScene } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';

const USER = { username: 'robot', password: 'pass:word' };
const always = { times: Infinity };
/** Long enough for a well answer of a busy machine, too short for one that drips. */
const SHORT = { discardMs: 50, exchangeMs: 4_000, retryMs: 2 };
const HEAD_LATEST = `HEAD /v2/${REPOSITORY}/manifests/latest`;
const GET_APP = `GET /v2/${REPOSITORY}/manifests/<app>`;
const GET_LAYER = `GET /v2/${REPOSITORY}/blobs/<app.layer1>`;

// What is thrown away

for (const [status, told] of [
  [404, 404],
  [403, 403],
  [429, 429],
  [500, 502],
  [503, 503],
] as const) {
  for (const kind of ['manifest', 'blob'] as const) {
    test(`the body of a ${status} that never comes keeps nobody, for a ${kind}`, async (t) => {
      const { registry, mirror, image, ask } = await startScene(t, {
        timing: { ...SHORT, attemptsMs: 0 },
      });
      const digest = kind === 'blob' ? image.layer(1).digest : image.manifest.digest;
      const path = `/v2/${REPOSITORY}/${kind}s/${digest}`;
      const gate = new Gate();
      registry.status(path, status, { ...always, gate });
      const answering = ask(path);
      await gate.arrived();
      t.is((await answering).status, told);
      t.false(gate.isOpen);
      gate.open();
      registry.heal();
      await mirror.idle();
    });
  }
}

test('the body of a redirect that never comes keeps nobody', async (t) => {
  const { registry, blob, image } = await startScene(t, {
    timing: SHORT,
    registry: { redirectBlobs: 307 },
  });
  registry.hold(({ origin }) => origin === 'registry', { ...always, after: 'headers' });
  t.deepEqual((await blob(image.layer(1))).body, image.layer(1).bytes);
  t.deepEqual(registry.conversation(), [GET_LAYER, 'GET storage /blobs/<app.layer1>']);
});

test('the body of a challenge that never comes keeps nobody', async (t) => {
  const { registry, blob, image } = await startScene(t, {
    timing: SHORT,
    registry: { auth: { kind: 'bearer', ...USER } },
    upstream: { credentials: USER },
  });
  registry.hold(({ origin, authorization }) => origin === 'registry' && authorization === 'none', {
    ...always,
    after: 'headers',
  });
  t.deepEqual((await blob(image.layer(1))).body, image.layer(1).bytes);
});

// What drips

test('a manifest that drips ends, and the next client has an answer of its own', async (t) => {
  const { registry, manifest, image } = await startScene(t, { timing: SHORT });
  registry.slow(image.manifest, { bytesPerSecond: 20 });
  t.deepEqual(refusalOf(await manifest('latest')), {
    status: 504,
    code: 'UNAVAILABLE',
    message: `hub.example: no whole answer from ${registry.host} within ${SHORT.exchangeMs} ms`,
    detail: { upstream: 'hub.example', fault: 'timeout' },
  });
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_APP, HEAD_LATEST, GET_APP]);
});

test('a list of tags that drips ends', async (t) => {
  const { registry, ask } = await startScene(t, { timing: SHORT });
  const path = `/v2/${REPOSITORY}/tags/list`;
  registry.slow(path, { bytesPerSecond: 5 });
  t.is((await ask(path)).status, 504);
  t.is((await ask(path)).status, 200);
});

for (const [what, strike] of [
  ['drips', { bytesPerSecond: 5 }],
  ['stalls', undefined],
] as const) {
  test(`a token that ${what} ends, and the next client has one`, async (t) => {
    const { registry, manifest } = await startScene(t, {
      timing: SHORT,
      registry: { auth: { kind: 'bearer', ...USER } },
      upstream: { credentials: USER },
    });
    if (strike) registry.slow('/token', strike);
    else registry.stall('/token');
    t.is((await manifest('latest')).status, 504);
    // The client's time is over a moment before that of the token, which began later.
    await until('a token', async () => (await manifest('latest')).status === 200);
    t.is(registry.conversation(({ origin }) => origin === 'token').length, 2);
  });
}

// What is slow, and comes

test('a manifest that comes slowly is worth its time', async (t) => {
  const { registry, mirror, ask } = await startScene(t, {
    timing: { ...SHORT, exchangeMs: 1_000 },
  });
  const image = buildImage({ seed: 'large', layers: Array.from({ length: 100 }, () => 10) });
  registry.addImage(REPOSITORY, 'large', image);
  registry.slow(image.manifest, { bytesPerSecond: 8_000 });
  const answer = await ask(`/v2/${REPOSITORY}/manifests/${image.manifest.digest}`);
  t.deepEqual(answer.body, image.manifest.bytes);
  t.true(image.manifest.bytes.length > 10_000);
  await mirror.idle();
});

test('a blob may take any time while bytes come', async (t) => {
  const { registry, blob } = await startScene(t, { timing: { ...SHORT, exchangeMs: 500 } });
  const layer = registry.addBlob(REPOSITORY, buildBlob('slow', 600));
  registry.slow(layer, { bytesPerSecond: 800 });
  t.deepEqual((await blob(layer)).body, layer.bytes);
  t.is(registry.requests.length, 1);
});
