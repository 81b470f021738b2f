/**
 * A client that asks for what fails at an upstream, over and over: the upstream stays up for others,
 * no held tag freezes, and nothing opens that only an outage would open.
 */
import test from 'ava';
import { buildImage } from '../helpers/image.ts';
import { REPOSITORY, startScene, told, type Scene } from '../helpers/scene.ts';

const always = { times: Infinity };
/** A client of the field would wait longer; the claims are the same. */
const SHORT = { headersMs: 1_000, firstByteMs: 1_000, attemptsMs: 0 };

type Strike = (scene: Scene, what: RegExp) => unknown;

const FAILURES: Record<string, Strike> = {
  'answer 502': ({ registry }, what) => registry.status(what, 502, always),
  'answer 503': ({ registry }, what) => registry.status(what, 503, always),
  'answer 504': ({ registry }, what) => registry.status(what, 504, always),
  'break the connection': ({ registry }, what) =>
    registry.cut(what, { ...always, after: 'request' }),
  hang: ({ registry }, what) => registry.hang(what, always),
};

for (const method of ['GET', 'HEAD'] as const) {
  for (const [claim, strike] of Object.entries(FAILURES)) {
    test(`whoever asks by ${method} for repositories that ${claim} takes the upstream down for nobody`, async (t) => {
      const scene = await startScene(t, { timing: { ...SHORT, breakerMs: 60_000 } });
      const { registry, mirror, image, ask, manifest } = scene;
      await manifest('latest');
      strike(scene, /^\/v2\/bad/);
      const attack = async (turn: number): Promise<unknown> =>
        Promise.all([
          ...['one', 'two', 'three', 'four'].map(async (name) =>
            ask(`/v2/bad/${name}/manifests/v${turn}`, { method }),
          ),
          ask(`/v2/bad/one/blobs/${image.layer(0).digest}`, { method }),
        ]);
      for (let turn = 0; turn < 3; turn += 1) {
        const attacking = attack(turn);
        const other = buildImage({ seed: `other${turn}`, layers: [10] });
        registry.addImage(`team/app${turn}`, 'v1', other);
        t.is((await ask(`/v2/team/app${turn}/manifests/v1`)).status, 200);
        t.is((await ask(`/v2/team/app${turn}/blobs/${other.layer(0).digest}`)).status, 200);
        await attacking;
        const moved = buildImage({ seed: `moved${turn}`, layers: [10] });
        registry.addImage(REPOSITORY, 'latest', moved);
        // Our own question may be on its way: held content does not wait for its answer.
        let answer = await manifest('latest');
        while (answer.headers['warning'] !== undefined) answer = await manifest('latest');
        t.deepEqual(told(answer), {
          status: 200,
          cache: 'entrepot; fwd=miss; stored',
          age: '0',
        });
        t.is(answer.headers['docker-content-digest'], moved.manifest.digest);
      }
      t.deepEqual(
        mirror.log.filter(({ msg }) => msg === 'the upstream is down'),
        [],
      );
    });
  }
}

for (const [claim, strike] of Object.entries(FAILURES)) {
  test(`a layer that a repository only claims to have is not opened by paths that ${claim}`, async (t) => {
    const scene = await startScene(t, { timing: SHORT, tags: { revalidateTimeoutMs: 500 } });
    const { registry, mirror, image, ask } = scene;
    const layer = image.layer(1);
    t.is((await ask(`/v2/${REPOSITORY}/blobs/${layer.digest}`)).status, 200);
    registry.addManifest('evil/app', image.manifest, { tags: ['claim'] });
    t.is((await ask('/v2/evil/app/manifests/claim')).status, 200);
    strike(scene, /^\/v2\/evil/);
    for (const method of ['GET', 'HEAD'] as const) {
      const answer = await ask(`/v2/evil/app/blobs/${layer.digest}`, { method });
      t.true(answer.status >= 500, String(answer.status));
      t.false(answer.body.includes(layer.bytes));
    }
    registry.heal();
    await mirror.idle();
    t.is((await ask(`/v2/evil/app/blobs/${layer.digest}`)).status, 404);
  });
}
