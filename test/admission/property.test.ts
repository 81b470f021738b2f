import test from 'ava';
import * as fc from 'fast-check';
import { HOUR, MINUTE, SECOND } from '../helpers/clock.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { ASKED, IMAGES, JudgedWorld, TAGS, WAYS, type Act } from './judged-world.ts';
import { RULE_COUNT, VulnerableWorld, type VulnerableAct } from './vulnerable-world.ts';

const RUNS = 12;
/** Ends the search for a shorter failure. */
const SEARCH_MS = 120_000;

const image = fc.constantFrom(...IMAGES);
const tag = fc.constantFrom(...TAGS);
const one = fc.nat(1);
const which = fc.nat(4);

const GET_OR_HEAD = fc.constantFrom('GET' as const, 'HEAD' as const);
const WAY = fc.constantFrom(...WAYS);
const WAIT = fc.constantFrom(30 * SECOND, HOUR, 3 * HOUR);
const JUMP = fc.constantFrom(-9 * HOUR, -HOUR, HOUR, 9 * HOUR);

function often<Doing>(weight: number, arbitrary: fc.Arbitrary<Doing>) {
  return { weight, arbitrary };
}

const does = <Name extends (Act | VulnerableAct)['do']>(name: Name) => fc.constant(name);

const RULE = fc.record({ do: does('rule'), to: fc.nat(ASKED.length - 1) });
const ACTS: fc.Arbitrary<Act> = fc.oneof(
  often(16, fc.record({ do: does('pull'), what: fc.oneof(image, tag), by: GET_OR_HEAD })),
  often(4, fc.record({ do: does('pull'), what: image, by: fc.constant('blob' as const) })),
  often(4, fc.record({ do: does('sign'), image, by: one, way: WAY })),
  often(2, fc.record({ do: does('unsign'), which })),
  often(2, fc.record({ do: does('forget'), which })),
  often(1, fc.record({ do: does('evict'), which: image })),
  often(2, fc.record({ do: does('move'), tag, image })),
  often(2, RULE),
  often(1, fc.record({ do: does('trust'), to: one })),
  often(5, fc.record({ do: does('wait'), ms: WAIT })),
  often(2, fc.record({ do: does('set'), ms: JUMP })),
  often(1, fc.record({ do: does('restart') })),
  often(1, fc.record({ do: does('offline'), is: fc.boolean() })),
);

test('whatever changes of rules, trust, evidence, tags and time: what is admitted would be by a judgement of that moment', async (t) => {
  const registry = await FakeRegistry.start(t);
  let [runs, admitted] = [0, 0];
  await fc.assert(
    fc.asyncProperty(RULE, fc.array(ACTS, { maxLength: 60, size: 'max' }), async (rule, acts) => {
      const world = await JudgedWorld.start(t, registry, `run${(runs += 1)}/app`);
      await world.do(rule);
      for (const each of acts) await world.do(each);
      await world.settle();
      admitted += world.admitted;
    }),
    { numRuns: RUNS, includeErrorInReport: true, interruptAfterTimeLimit: SEARCH_MS },
  );
  t.true(admitted > runs, `${admitted} pulls were admitted`);
});

const SOME = fc.subarray([...IMAGES]);
const AWHILE = fc.constantFrom(MINUTE, HOUR, 11 * HOUR, 23 * HOUR);

const VULNERABLE_ACTS: fc.Arbitrary<VulnerableAct> = fc.oneof(
  often(18, fc.record({ do: does('pull'), image, by: GET_OR_HEAD })),
  often(3, fc.record({ do: does('pull'), image, by: fc.constant('blob' as const) })),
  often(4, fc.record({ do: does('database'), found: SOME })),
  often(3, fc.record({ do: does('stuck'), images: SOME })),
  often(2, fc.record({ do: does('silence'), is: fc.boolean() })),
  often(2, fc.record({ do: does('vex'), image, by: one })),
  often(2, fc.record({ do: does('rule'), to: fc.nat(RULE_COUNT - 1) })),
  often(1, fc.record({ do: does('trust'), to: one })),
  often(1, fc.record({ do: does('evict'), image })),
  often(6, fc.record({ do: does('wait'), ms: AWHILE })),
  often(1, fc.record({ do: does('set'), ms: JUMP })),
  often(1, fc.record({ do: does('restart') })),
);

test('whatever changes of databases, reports, VEX, exceptions and time: what is admitted has no finding that counts, by a database that was overtaken within maxAge', async (t) => {
  const registry = await FakeRegistry.start(t);
  let [runs, admitted] = [0, 0];
  await fc.assert(
    fc.asyncProperty(fc.array(VULNERABLE_ACTS, { maxLength: 60, size: 'max' }), async (acts) => {
      const world = await VulnerableWorld.start(t, registry, `scanned${(runs += 1)}/app`);
      for (const each of acts) await world.do(each);
      await world.settle();
      admitted += world.admitted;
    }),
    { numRuns: RUNS, includeErrorInReport: true, interruptAfterTimeLimit: SEARCH_MS },
  );
  t.true(admitted > runs, `${admitted} pulls were admitted`);
});
