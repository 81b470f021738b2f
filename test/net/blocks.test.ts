import { mock } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import * as fc from 'fast-check';
import { BLOCKS, Gathering } from '../../src/net/blocks.ts';
import { ResponseBody } from '../../src/net/exchange.ts';

const KIB = 1024;
const SOURCE = { pause: () => undefined, resume: () => undefined, abort: () => undefined };

test('what is taken is what was added, in any pieces', (t) => {
  const pieces = fc.array(fc.oneof(fc.integer({ min: 1, max: 700 * KIB }), fc.constant('take')), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(pieces, (steps) => {
      const gathering = new Gathering();
      const [added, taken]: [Buffer[], Buffer[]] = [[], []];
      const take = (): Buffer | undefined => {
        const bytes = gathering.take();
        if (bytes) taken.push(bytes);
        return bytes;
      };
      for (const [index, step] of steps.entries()) {
        if (typeof step === 'string') {
          take();
          continue;
        }
        const bytes = Buffer.alloc(step, index + 1);
        added.push(Buffer.from(bytes));
        gathering.add(bytes);
        // The memory is the caller's again.
        bytes.fill(0);
      }
      while (take());
      return Buffer.concat(taken).equals(Buffer.concat(added));
    }),
    { numRuns: 60 },
  );
  t.pass();
});

test('a block that was given back is used again, once; what is no block is not', (t) => {
  const block = BLOCKS.take();
  BLOCKS.give(block.subarray(10, 20));
  BLOCKS.give(block);
  BLOCKS.give(Buffer.alloc(256 * KIB));
  const [next, other] = [BLOCKS.take(), BLOCKS.take()];
  t.is(next.buffer, block.buffer);
  t.not(other.buffer, block.buffer);
});

test('little bytes do not hold a block', (t) => {
  const gathering = new Gathering();
  gathering.add(Buffer.alloc(10 * KIB));
  t.true((gathering.take()?.buffer.byteLength ?? Infinity) < 256 * KIB);
});

test('what came while nobody took it is one step for each 256 KiB, and the first byte waits for nobody', async (t) => {
  const body = new ResponseBody(SOURCE, { isStream: true });
  const first = body.next();
  body.push(Buffer.alloc(1));
  t.is((await first)?.length, 1);
  for (let chunk = 0; chunk < 64; chunk += 1) body.push(Buffer.alloc(16 * KIB));
  body.finish();
  const steps: number[] = [];
  for (let chunk = await body.next(); chunk; chunk = await body.next()) steps.push(chunk.length);
  t.deepEqual(steps, [256 * KIB, 256 * KIB, 256 * KIB, 256 * KIB]);
});

test.serial(
  'what comes soon after a step waits for a full one or a moment; what comes later does not',
  async (t) => {
    mock.timers.enable({ apis: ['setTimeout'] });
    t.teardown(() => mock.timers.reset());
    const body = new ResponseBody(SOURCE, { isStream: true });
    const steps: number[] = [];
    const reading = (async (): Promise<void> => {
      for (let chunk = await body.next(); chunk; chunk = await body.next())
        steps.push(chunk.length);
    })();
    const come = async (kib: number): Promise<void> => {
      body.push(Buffer.alloc(kib * KIB));
      await turn();
    };
    await come(16);
    for (const kib of [64, 64, 64]) await come(kib);
    t.deepEqual(steps, [16 * KIB]);
    await come(64);
    t.deepEqual(steps, [16 * KIB, 256 * KIB]);
    await come(48);
    t.is(steps.length, 2);
    mock.timers.tick(10);
    await turn();
    t.deepEqual(steps.slice(2), [48 * KIB]);
    mock.timers.tick(10);
    await come(1);
    t.deepEqual(steps.slice(3), [1 * KIB]);
    await come(2);
    t.is(steps.length, 4);
    body.finish();
    await reading;
    t.deepEqual(steps.slice(4), [2 * KIB]);
  },
);

test.serial('a document waits for no step', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const body = new ResponseBody(SOURCE, { isStream: false });
  for (const bytes of [1, 2, 3]) {
    body.push(Buffer.alloc(bytes));
    t.is((await body.next())?.length, bytes);
  }
});
