/** One client cannot use up the pulls that an upstream counts while others ask. */
import { Agent } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { MINUTE } from '../helpers/clock.ts';
import { buildImage } from '../helpers/image.ts';
import { refusalOf, REPOSITORY, startScene, UPSTREAM } from '../helpers/scene.ts';

const MODEST = new Agent({ localAddress: '127.0.0.2' });

/** Pulls an image that was never pulled before; the status of the answer. */
async function setUp(t: ExecutionContext, limit: number) {
  const { registry, manifest, clock } = await startScene(t);
  registry.rateLimit({ limit, remaining: limit });
  let count = 0;
  const pull = async (agent?: Agent) => {
    count += 1;
    const image = buildImage({ seed: `${t.title} ${count}`, layers: [10] });
    registry.addImage(REPOSITORY, undefined, image);
    return manifest(image.manifest.digest, agent && { agent });
  };
  const times = async (pulls: number, agent?: Agent): Promise<number[]> => {
    const statuses: number[] = [];
    for (let n = 0; n < pulls; n += 1) statuses.push((await pull(agent)).status);
    return statuses;
  };
  return { registry, clock, pull, times };
}

const ok = (count: number): number[] => Array<number>(count).fill(200);

test('a lone client may take all', async (t) => {
  const { times } = await setUp(t, 10);
  t.deepEqual(await times(11), [...ok(10), 429]);
});

test('while another client asks, one may take half; the rest is for the other one', async (t) => {
  const { registry, pull, times } = await setUp(t, 20);
  t.deepEqual(await times(1, MODEST), [200]);
  t.deepEqual(await times(10), ok(10));
  const asked = registry.requests.length;
  t.deepEqual(refusalOf(await pull()), {
    status: 429,
    code: 'TOOMANYREQUESTS',
    retryAfter: '300',
    message: `${UPSTREAM}: half of what is left of its quota is kept for other clients that ask`,
    detail: { upstream: UPSTREAM, fault: 'rate-limited' },
  });
  t.is(registry.requests.length, asked);
  t.deepEqual(await times(9, MODEST), ok(9));
});

test('pulls at once count before their answers are here', async (t) => {
  const { pull, times } = await setUp(t, 20);
  t.deepEqual(await times(1, MODEST), [200]);
  const answers = await Promise.all(Array.from({ length: 19 }, async () => pull()));
  t.is(answers.filter(({ status }) => status === 200).length, 10);
  t.deepEqual(await times(9, MODEST), ok(9));
});

test('a client that has taken more gives way to one that begins to ask', async (t) => {
  const { times } = await setUp(t, 20);
  t.deepEqual(await times(15), ok(15));
  t.deepEqual(await times(1, MODEST), [200]);
  t.deepEqual(await times(1), [429]);
  t.deepEqual(await times(4, MODEST), ok(4));
});

test('a client that asks no more gives way again, and so do pulls that have come back', async (t) => {
  const { registry, clock, times } = await setUp(t, 20);
  t.deepEqual(await times(1, MODEST), [200]);
  t.deepEqual(await times(11), [...ok(10), 429]);
  clock.advance(5 * MINUTE);
  t.deepEqual(await times(5), ok(5));
  t.deepEqual(await times(1, MODEST), [200]);
  t.deepEqual(await times(1), [429]);
  registry.rateLimit({ limit: 20, remaining: 20 });
  t.deepEqual(await times(1, MODEST), [200]);
  t.deepEqual(await times(8), ok(8));
});
