/** What is remembered of those who ask takes little, however much they say. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { AccessKeys } from '../../src/access/access-keys.ts';
import { Access, type AccessParts } from '../../src/access/access.ts';
import { BearerTokens } from '../../src/access/bearer-tokens.ts';
import { Failures } from '../../src/access/failures.ts';
import { Clock } from '../helpers/clock.ts';
import { createTempFolder } from '../helpers/mirror.ts';

const MIB = 2 ** 20;

test('a wrong login is counted in little memory, however long its name is', (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const measure = (): number => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const failures = new Failures(new Clock());
  const name = (n: number): string => `${n}${Buffer.alloc(60_000, 'x').toString()}`;
  const before = measure();
  for (let n = 0; n < 2000; n += 1) failures.begin(name(n), `10.0.${n >> 8}.${n & 255}`);
  // Two thousand such names are 120 MB.
  t.true(measure() - before < 20 * MIB);
  // And each is still counted by itself.
  const more = Array.from({ length: 10 }, () => failures.begin(name(0), '10.0.0.0'));
  t.deepEqual(more, [...Array.from({ length: 9 }, () => true), false]);
  t.true(failures.begin(name(1), '10.0.0.0'));
});

test('tokens that were verified are remembered up to 16 MiB of them', async (t) => {
  const clock = new Clock();
  const fails = (reason: string): void => t.fail(reason);
  const parts = { clock, damaged: fails, unwritten: fails };
  const keys = await AccessKeys.open(await createTempFolder(t), parts);
  let verified = 0;
  const tokens = new BearerTokens({
    keys: {
      signing: async () => keys.signing(),
      find: (id) => {
        verified += 1;
        return keys.find(id);
      },
    },
    clock,
    service: 'a-mirror',
    ttlMs: 300_000,
  });
  let made = 100_000;
  /** All as long as one another. Anybody may have one for names of his own. */
  const make = async (): Promise<string> => {
    made += 1;
    const name = `${'x'.repeat(500)}${made}`;
    const repositories = Array.from({ length: 10 }, (_, each) => `${name}-${each}`);
    const [subject, grant] = [{ names: [] }, { kind: 'none' }] as const;
    return (await tokens.issue({ subject, grant, repositories, catalog: false })).token;
  };
  const first = await make();
  const most = Math.floor((16 * MIB) / first.length);
  t.truthy(await tokens.verify(first));
  for (let n = 1; n < most; n += 1) t.truthy(await tokens.verify(await make()));
  t.truthy(await tokens.verify(first));
  t.is(verified, most);
  for (let n = 0; n < most; n += 1) t.truthy(await tokens.verify(await make()));
  t.truthy(await tokens.verify(first));
  t.is(verified, 2 * most + 1);
});

test('of the thousands of groups in a JWT those that rules name are looked for once', async (t) => {
  const groups = Array.from({ length: 2000 }, (_, n) => `group:${n}`);
  const verified = { subject: { names: ['oidc:corp:alice', ...groups] }, grant: { kind: 'none' } };
  let looks = 0;
  const access = new Access({
    bearers: { recall: () => undefined, verify: async () => undefined },
    issuers: { verify: async () => verified },
    rules: {
      names: (group: string) => {
        looks += 1;
        return group === 'group:7';
      },
    },
  } as unknown as AccessParts);
  for (let n = 0; n < 10; n += 1) {
    const { subject } = await access.identify('Bearer eyJ.x.y', { address: '10.0.0.1' });
    t.deepEqual(subject.names, ['oidc:corp:alice', 'group:7']);
  }
  t.is(looks, groups.length);
});
