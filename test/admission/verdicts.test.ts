import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Verdict } from '../../src/admission/verdict.ts';
import { Verdicts } from '../../src/admission/verdicts.ts';
import { unitOf } from '../../src/store/catalog/catalog.ts';
import { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import { Clock, HOUR, SECOND } from '../helpers/clock.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { REPOSITORY } from '../helpers/scene.ts';
import { digest, entry, targetOf } from '../store/catalog-contract.ts';
import { startGuarded } from './guarded.ts';
import { KeyHolder } from './signing.ts';

const APP = targetOf('app');
const ADMITTED: Verdict = { is: 'admitted', carrier: digest('signature') };
const DAY = 24 * HOUR;
const QUESTION = {
  target: APP,
  digest: digest(1),
  rests: ['signers', 'trust', [digest('signature')]],
};

interface World {
  readonly clock: Clock;
  readonly catalog: LevelCatalog;
  /** As after a restart of the program, of this version. */
  readonly restart: (version?: string) => Promise<Verdicts>;
}

async function createWorld(t: ExecutionContext): Promise<World> {
  const path = join(await createTempFolder(t), 'catalog');
  const catalog = await LevelCatalog.open(path, { durability: 'rename' });
  t.teardown(async () => catalog.close());
  const clock = new Clock();
  await catalog.recordManifest(APP, entry(1), clock.wall());
  let running: Verdicts | undefined;
  const restart = async (version = '1.0.0'): Promise<Verdicts> => {
    await running?.written();
    running = new Verdicts({ clock, facts: catalog.admission, version });
    return running;
  };
  return { clock, catalog, restart };
}

test('one that admits counts again after a restart, for the same question and program', async (t) => {
  const { restart } = await createWorld(t);
  (await restart()).keep(QUESTION, ADMITTED);
  const next = await restart();
  t.deepEqual(await next.find(QUESTION), ADMITTED);
  for (const rests of [[], ['signers', 'trust', []], ['others', ...QUESTION.rests.slice(1)]]) {
    t.is(await next.find({ ...QUESTION, rests }), undefined);
  }
  t.is(await next.find({ ...QUESTION, target: targetOf('other') }), undefined);
  t.is(await next.find({ ...QUESTION, digest: digest(2) }), undefined);
  t.is(await (await restart('1.0.1')).find(QUESTION), undefined);
});

test('one that refuses counts for thirty seconds, and not after a restart', async (t) => {
  const { clock, restart } = await createWorld(t);
  const refused: Verdict = { is: 'refused', refusals: [] };
  const verdicts = await restart();
  verdicts.keep(QUESTION, refused);
  clock.advance(30 * SECOND - 1);
  t.is(await verdicts.find(QUESTION), refused);
  t.is(await (await restart()).find(QUESTION), undefined);
  clock.advance(1);
  t.is(await verdicts.find(QUESTION), undefined);
});

for (const when of ['at once', 'after a restart']) {
  test(`none counts before it was reached, nor when its end has come, ${when}`, async (t) => {
    const { clock, restart } = await createWorld(t);
    const ends: Verdict = { is: 'admitted', validUntil: clock.wall() + HOUR };
    const first = await restart();
    first.keep(QUESTION, ends);
    const verdicts = when === 'at once' ? first : await restart();
    t.deepEqual(await verdicts.find(QUESTION), ends);
    clock.setBack(1);
    t.is(await verdicts.find(QUESTION), undefined);
    clock.setBack(-HOUR);
    t.deepEqual(await verdicts.find(QUESTION), ends);
    clock.setBack(-1);
    t.is(await verdicts.find(QUESTION), undefined);
  });
}

test('one without an end counts for a week, and goes with the image', async (t) => {
  const { clock, catalog, restart } = await createWorld(t);
  (await restart()).keep(QUESTION, ADMITTED);
  clock.advance(7 * DAY - 1);
  t.deepEqual(await (await restart()).find(QUESTION), ADMITTED);
  clock.advance(1);
  t.is(await (await restart()).find(QUESTION), undefined);
  (await restart()).keep(QUESTION, ADMITTED);
  await restart();
  await catalog.evict(unitOf(APP, digest(1)));
  await catalog.recordManifest(APP, entry(1), clock.wall());
  t.is(await (await restart()).find(QUESTION), undefined);
});

test('who asks the same meanwhile waits for the same judgement', async (t) => {
  const { restart } = await createWorld(t);
  const verdicts = await restart();
  const { promise, resolve } = Promise.withResolvers<Verdict>();
  let judged = 0;
  const judge = async (): Promise<Verdict> => {
    judged += 1;
    return promise;
  };
  const all = [verdicts.reach(QUESTION, judge), verdicts.reach(QUESTION, judge)];
  resolve(ADMITTED);
  t.deepEqual(await Promise.all(all), [ADMITTED, ADMITTED]);
  t.is(judged, 1);
});

test('what was admitted by a signature whose tag now means another one is refused, though it is still held', async (t) => {
  const { registry, image, manifest, signer, clock } = await startGuarded(t);
  signer.attachByTag(registry, REPOSITORY, image.manifest);
  t.is((await manifest('latest')).status, 200);
  new KeyHolder().attachByTag(registry, REPOSITORY, image.manifest);
  clock.advance(HOUR);
  t.is((await manifest(`${image.manifest.digest.replace(':', '-')}.sig`)).status, 200);
  t.is((await manifest('latest')).status, 403);
});
