/** What logins cost, counted: hashes at a time, hashes at all, and who is kept out by whose failures. */
import { writeFileSync } from 'node:fs';
import test from 'ava';
import { networkOf } from '../../src/access/failures.ts';
import { Passwords, type PasswordAttempt } from '../../src/access/passwords.ts';
import { RegistryError } from '../../src/oci/errors.ts';
import { Clock } from '../helpers/clock.ts';
import { Scrape } from '../helpers/scrape.ts';
import { basic, form, startGuardedScene, writeUsers, type GuardedScene } from './guarded-scene.ts';

const HASH = `$2b$12$${'x'.repeat(53)}`;

function create({ isHeld = false } = {}) {
  const clock = new Clock();
  const seen = { hashes: [] as string[], running: 0, most: 0, reads: 0 };
  const attempts: PasswordAttempt[] = [];
  const { promise: opened, resolve: open } = Promise.withResolvers<void>();
  if (!isHeld) open();
  const users = new Map([['alice', HASH]]);
  const passwords = new Passwords({
    users: () => {
      seen.reads += 1;
      return users;
    },
    clock,
    compare: async (password, hash) => {
      seen.hashes.push(hash);
      seen.running += 1;
      seen.most = Math.max(seen.most, seen.running);
      await opened;
      seen.running -= 1;
      return password === 'wonder' && hash === HASH;
    },
    judged: (attempt) => void attempts.push(attempt),
  });
  /** `right`, `wrong`, or after how many seconds to try again. */
  const log = async (user: string, password: string, address: string): Promise<string> => {
    try {
      return (await passwords.verify(user, password, address)) ? 'right' : 'wrong';
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      return String(error.headers['Retry-After']);
    }
  };
  return { clock, seen, attempts, open, log };
}

function count(results: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const result of results) counts[result] = (counts[result] ?? 0) + 1;
  return counts;
}

test('two hashes run at a time; one address has half of those that wait, and no more than all wait', async (t) => {
  const { seen, log, open } = create({ isHeld: true });
  const logins = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].flatMap((address) =>
    Array.from({ length: 60 }, async (_, n) => log(`user-${address}-${n}`, 'x', address)),
  );
  open();
  // 50 of the first, 50 of the second, and of the third those for whom the two that run made room.
  t.deepEqual(count(await Promise.all(logins)), { wrong: 102, '1': 78 });
  t.is(seen.hashes.length, 102);
  t.is(seen.most, 2);
});

test('of fifty guesses at once ten are compared, as of fifty in a row', async (t) => {
  const atOnce = create({ isHeld: true });
  const guesses = Array.from({ length: 50 }, async (_, n) =>
    atOnce.log('alice', `${n}`, '10.0.0.1'),
  );
  atOnce.open();
  t.deepEqual(count(await Promise.all(guesses)), { wrong: 10, '60': 40 });
  const inARow = create();
  const results: string[] = [];
  for (let n = 0; n < 50; n += 1) results.push(await inARow.log('alice', `${n}`, '10.0.0.1'));
  t.deepEqual(count(results), { wrong: 10, '60': 40 });
  t.is(await inARow.log('alice', 'wonder', '10.0.0.2'), 'right');
});

test('who has guessed too often learns nothing of further guesses, although the owner logs in meanwhile', async (t) => {
  const { log, seen, clock } = create();
  t.is(await log('alice', 'wonder', '10.0.0.1'), 'right');
  for (let n = 0; n < 10; n += 1) t.is(await log('alice', `guess ${n}`, '10.0.0.2'), 'wrong');
  for (const guess of ['another guess', 'wonder'])
    t.is(await log('alice', guess, '10.0.0.2'), '60');
  // Nor after guesses of other accounts, as many as an address may.
  for (let n = 0; n < 300; n += 1) await log(`user-${n}`, 'x', '10.0.0.3');
  for (let n = 0; n < 10; n += 1) t.is(await log('alice', `guess ${n}!`, '10.0.0.3'), '60');
  t.is(await log('alice', 'wonder', '10.0.0.3'), '60');
  t.is(await log('alice', 'wonder', '10.0.0.1'), 'right');
  t.is(seen.hashes.length, 311);
  // Nor by what is free again, and when, that there is such an account.
  clock.advance(60_000);
  for (const name of ['alice', 'nobody']) t.is(await log(name, 'later', '10.0.0.3'), 'wrong');
});

test('one password for each account is tried with three hundred of them in a minute', async (t) => {
  const { log, clock, attempts } = create();
  const results: string[] = [];
  for (let n = 0; n < 400; n += 1) results.push(await log(`user-${n}`, 'Winter2026', '10.0.0.1'));
  t.deepEqual(count(results), { wrong: 300, '60': 100 });
  t.deepEqual(count(attempts.map(({ result }) => result)), { unknown: 300, limited: 100 });
  // What others call themselves is nobody's to read.
  t.true(attempts.every(({ account }) => account === undefined));
  t.is(await log('alice', 'wonder', '10.0.0.1'), '60');
  t.is(await log('alice', 'wonder', '10.0.0.2'), 'right');
  // What is known costs nothing, and is known from everywhere.
  t.is(await log('alice', 'wonder', '10.0.0.1'), 'right');
  clock.advance(60_000);
  t.is(await log('another', 'Winter2026', '10.0.0.1'), 'wrong');
});

test('a wrong password a minute keeps nobody out, however long that goes on', async (t) => {
  const { log, clock } = create();
  for (let n = 0; n < 400; n += 1) {
    clock.advance(31_000);
    t.is(await log('alice', `${n}`, '10.0.0.1'), 'wrong');
  }
  t.is(await log('alice', 'wonder', '10.0.0.1'), 'right');
});

test('right passwords are no failures, however many users log in behind one address', async (t) => {
  const { log, clock, seen } = create();
  for (let n = 0; n < 400; n += 1) {
    t.is(await log('alice', 'wonder', '10.0.0.1'), 'right');
    clock.advance(n % 2 === 0 ? 5 * 60_000 : 0);
  }
  t.is(seen.hashes.length, 201);
});

test('an unknown user costs the same hash and the same looks at the users as a known one', async (t) => {
  const costs = [];
  for (const user of ['alice', 'nobody']) {
    const { log, seen } = create();
    t.is(await log(user, 'wrong', '10.0.0.1'), 'wrong');
    costs.push([seen.reads, seen.hashes.map((hash) => [hash.length, hash.slice(4, 7)])]);
  }
  t.deepEqual(costs[0], costs[1]);
  t.deepEqual(costs[0], [1, [[60, '12$']]]);
});

test('what is remembered has an end: ten thousand others, and it is compared again', async (t) => {
  const { log, seen } = create();
  t.is(await log('alice', 'wonder', '10.0.0.1'), 'right');
  for (let n = 0; n < 10_000; n += 1) await log(`user-${n}`, 'x', `10.1.${n >> 8}.${n & 255}`);
  t.is(seen.hashes.length, 10_001);
  t.is(await log('alice', 'wonder', '10.0.0.1'), 'right');
  t.is(seen.hashes.length, 10_002);
});

test('an IPv6 address counts as its subnet, of which one machine has all', async (t) => {
  const subnets: Record<string, string> = {
    '2001:db8:0:1::1': '2001:db8:0:1::/64',
    '2001:db8:0:1:ffff::2': '2001:db8:0:1::/64',
    '2001:DB8::1:0:0:0:3': '2001:db8:0:1::/64',
    '2001:db8::1': '2001:db8:0:0::/64',
    '::1': '0:0:0:0::/64',
    '::': '0:0:0:0::/64',
    'fe80::1%eth0': 'fe80:0:0:0::/64',
    '1:2:3:4:5:6:7:8': '1:2:3:4::/64',
    '64:ff9b::192.0.2.1': '64:ff9b:0:0::/64',
    '192.0.2.1': '192.0.2.1',
    '': '',
  };
  for (const [address, subnet] of Object.entries(subnets))
    t.is(networkOf(address), subnet, address);
  const { log } = create();
  const results: string[] = [];
  for (let n = 0; n < 20; n += 1) results.push(await log('alice', `${n}`, `2001:db8:0:1::${n}`));
  t.deepEqual(count(results), { wrong: 10, '60': 10 });
});

const PULL = '/v2/org/private/manifests/v1';

async function hashes({ admin }: GuardedScene): Promise<Record<string, number>> {
  const { body } = await admin('/metrics', { headers: basic('ops', 'ops') });
  const { samples } = new Scrape(String(body));
  const own = samples.filter(({ name }) => name === 'access_passwords_total');
  return Object.fromEntries(own.map(({ labels, value }) => [labels['result'], value]));
}

test('who guesses from one address keeps the owner out of the account at no other one', async (t) => {
  const scene = await startGuardedScene(t, { trustProxy: ['127.0.0.1'] });
  const from = async (address: string, password: string) => {
    const headers = { ...basic('alice', password), 'x-forwarded-for': address };
    return (await scene.ask(PULL, { headers })).status;
  };
  for (let n = 0; n < 10; n += 1) t.is(await from('192.0.2.1', `guess ${n}`), 401);
  t.is(await from('192.0.2.1', 'one more'), 429);
  t.is(await from('192.0.2.1', 'wonder'), 429);
  // What stands before the last hop is the guesser's own word.
  t.is(await from('198.51.100.7, 192.0.2.1', 'yet another'), 429);
  t.is(await from('192.0.2.2', 'wonder'), 200);
  t.deepEqual(await hashes(scene), { right: 2, wrong: 10, unknown: 0, limited: 3 });
  // With a scope a form is as the header: what cannot be looked at is the token of nobody.
  const fields = { grant_type: 'password', username: 'alice', password: 'and another' };
  const headers = { 'x-forwarded-for': '192.0.2.1' };
  const login = async (more: Record<string, string>) => {
    const request = form({ ...fields, ...more });
    return (await scene.ask('/token', { ...request, headers: { ...request.headers, ...headers } }))
      .status;
  };
  t.is(await login({}), 429);
  t.is(await login({ scope: 'repository:library/open:pull' }), 200);
});

test('hundreds of pulls cost one hash, by Basic as by tokens', async (t) => {
  const scene = await startGuardedScene(t);
  const headers = basic('alice', 'wonder');
  for (let n = 0; n < 100; n += 1) {
    t.is((await scene.ask(PULL, { headers })).status, 200);
    const scope = 'scope=repository:org/private:pull';
    t.is((await scene.ask(`/token?service=x&${scope}`, { headers })).status, 200);
  }
  t.deepEqual(await hashes(scene), { right: 2, wrong: 0, unknown: 0, limited: 0 });
});

test('a password that was changed counts no more, nor does what was given for it', async (t) => {
  const { ask, htpasswd } = await startGuardedScene(t);
  const headers = basic('alice', 'wonder');
  const scope = 'scope=repository:org/private:pull';
  const { body } = await ask(`/token?service=x&${scope}`, { headers });
  const { token } = JSON.parse(String(body)) as { token: string };
  const bearer = { authorization: `Bearer ${token}` };
  const pull = async (shown: { authorization: string }) =>
    (await ask(PULL, { headers: shown })).status;
  t.deepEqual([await pull(headers), await pull(bearer)], [200, 200]);
  writeUsers(htpasswd, { alice: 'another', ops: 'ops' });
  t.deepEqual([await pull(headers), await pull(bearer)], [401, 401]);
  t.is(await pull(basic('alice', 'another')), 200);
  writeUsers(htpasswd, { ops: 'ops' });
  t.is(await pull(basic('alice', 'another')), 401);
});

test('a file of users that is broken before anybody logs in lets nobody in, and keeps nobody from open images', async (t) => {
  const { ask, htpasswd, mirror } = await startGuardedScene(t);
  const headers = basic('alice', 'wonder');
  writeFileSync(htpasswd, 'alice:plain\n');
  // The users of the start count, as ever while the file is broken.
  t.is((await ask(PULL, { headers })).status, 200);
  t.is((await ask('/v2/library/open/manifests/v1', { headers })).status, 200);
  t.true(mirror.log.some(({ msg }) => msg === 'the users stay as they were'));
  writeUsers(htpasswd, { alice: 'another' });
  t.is((await ask(PULL, { headers: basic('alice', 'another') })).status, 200);
});
