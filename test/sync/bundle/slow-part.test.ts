/** Senders that are slow, and those that wait for them. */
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { json } from 'node:stream/consumers';
import test from 'ava';
import { BundleError } from '../../../sync/bundle/bundle-error.ts';
import { PacedSource } from '../../../sync/bundle/paced-source.ts';
import { Clock, MINUTE } from '../../helpers/clock.ts';
import { FakeTimer } from '../../helpers/fake-timer.ts';
import { buildImage } from '../../helpers/image.ts';
import { get } from '../../helpers/client.ts';
import { until } from '../../helpers/until.ts';
import { bring, bundleOf, startAirGapped } from './brought-bundle.ts';

const APP = buildImage({ seed: 'app', layers: [30_000] });
const TOOL = buildImage({ seed: 'tool', layers: [2_000] });

test('a part that comes by drips is given up once another one waits, and told why', async (t) => {
  const clock = new Clock();
  const site = await startAirGapped(t, { clock });
  const app = bundleOf([{ image: APP, repository: 'org/app', tag: 'v1' }]);
  const part = await app.part(1);
  const url = `${site.server.adminUrl}/api/v1/bundles`;
  const headers = { 'content-type': 'application/x-tar' };
  const slow = request(`${url}/parts`, { method: 'POST', headers });
  const answered = once(slow, 'response');
  slow.write(part.subarray(0, -20_000));
  await until('it is under way', async () =>
    String((await get(url)).body).includes('"received":[]'),
  );
  clock.advance(MINUTE);
  const other = bundleOf([{ image: TOOL, repository: 'org/tool', tag: 'v1' }], {
    manifest: { number: 2 },
  });
  let status: number | undefined;
  const brought = bring(site, await other.part(1)).then((answer) => (status = answer.status));
  await until('it is given up', () => {
    clock.advance(MINUTE);
    return status;
  });
  await brought;
  t.is(status, 200);
  const [answer] = (await answered) as [IncomingMessage];
  t.is(answer.statusCode, 422);
  t.like(await json(answer), {
    error:
      'other parts wait, and this one comes too slowly: copy it to a disk of this machine first, and import it from there',
  });
  slow.destroy();
  const whole = await bring(site, part, { allowOlder: true });
  t.is(whole.status, 200, JSON.stringify(whole.body));
});

test('a slow source is waited for while nobody waits, and for ten seconds within 8 MiB after that', async (t) => {
  const timer = new FakeTimer();
  let [isHindering, isFast] = [false, false];
  const source = async function* () {
    for (;;) {
      if (!isFast) await timer.wait(3_000);
      yield Buffer.alloc(isFast ? 8 * 2 ** 20 : 1);
    }
  };
  const chunks = new PacedSource(source(), { timer, isHindering: () => isHindering })[
    Symbol.asyncIterator
  ]();
  const take = async () => {
    const [chunk] = await Promise.all([chunks.next(), timer.advance(3_000)]);
    return chunk;
  };
  for (let chunk = 0; chunk < 20; chunk += 1) t.false((await take()).done);
  isHindering = true;
  for (let chunk = 0; chunk < 3; chunk += 1) t.false((await take()).done);
  isFast = true;
  t.false((await take()).done);
  isFast = false;
  for (let chunk = 0; chunk < 3; chunk += 1) t.false((await take()).done);
  const error = await t.throwsAsync(take(), { instanceOf: BundleError });
  t.is(error.code, 'part');
});
