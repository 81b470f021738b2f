/** What passwords cost, and who pays for wrong ones. */
import test from 'ava';
import { RegistryError } from '../../src/oci/errors.ts';
import { Passwords } from '../../src/access/passwords.ts';
import { Clock } from '../helpers/clock.ts';

function create(users: Record<string, string>, wait: () => Promise<void> = async () => {}) {
  const compared: string[] = [];
  const clock = new Clock();
  let known = new Map(Object.entries(users));
  const passwords = new Passwords({
    users: () => known,
    clock,
    compare: async (password, hash) => {
      compared.push(password);
      await wait();
      return hash === `hash of ${password}`;
    },
  });
  return {
    compared,
    clock,
    passwords,
    change: (now: Record<string, string>) => (known = new Map(Object.entries(now))),
  };
}

test('a right password is compared once in five minutes, also when it comes many times at once', async (t) => {
  const { passwords, compared, clock, change } = create({ alice: 'hash of wonder' });
  const many = Array.from({ length: 50 }, async () =>
    passwords.verify('alice', 'wonder', '10.0.0.1'),
  );
  t.true((await Promise.all(many)).every(Boolean));
  for (let n = 0; n < 10_000; n += 1) await passwords.verify('alice', 'wonder', '10.0.0.2');
  t.is(compared.length, 1);
  clock.advance(5 * 60_000);
  t.true(await passwords.verify('alice', 'wonder'));
  t.is(compared.length, 2);
  // Another hash is another password.
  change({ alice: 'hash of other' });
  t.false(await passwords.verify('alice', 'wonder'));
});

test('wrong ones of one address keep nobody else out of the account', async (t) => {
  const { passwords, compared, clock } = create({ alice: 'hash of wonder' });
  for (let n = 0; n < 10; n += 1)
    t.false(await passwords.verify('alice', `guess ${n}`, '10.0.0.1'));
  const error = await t.throwsAsync(passwords.verify('alice', 'wonder', '10.0.0.1'), {
    instanceOf: RegistryError,
  });
  t.like(error, { code: 'TOOMANYREQUESTS', headers: { 'Retry-After': '60' } });
  t.is(compared.length, 10);
  t.true(await passwords.verify('alice', 'wonder', '10.0.0.2'));
  clock.advance(60_000);
  t.true(await passwords.verify('alice', 'wonder', '10.0.0.1'));
});

test('a secret of the upstream that comes with every pull is compared once, and keeps nobody out', async (t) => {
  const { passwords, compared } = create({ alice: 'hash of wonder' });
  for (let n = 0; n < 1_000; n += 1) {
    t.false(await passwords.verify('hub-user', 'secret of the hub', '10.0.0.1'));
  }
  t.is(compared.length, 1);
});

test('an unknown user costs as much as a known one', async (t) => {
  const { passwords, compared } = create({ alice: 'hash of wonder' });
  t.false(await passwords.verify('nobody', 'x', '10.0.0.1'));
  t.false(await passwords.verify('alice', 'x', '10.0.0.1'));
  t.is(compared.length, 2);
});

test('a password that was changed, or whose user was taken away, while it was compared is none', async (t) => {
  for (const now of [{ alice: 'hash of other' }, {}]) {
    const gate = Promise.withResolvers<void>();
    const { passwords, change } = create({ alice: 'hash of wonder' }, async () => gate.promise);
    const login = passwords.verify('alice', 'wonder', '10.0.0.1');
    change(now);
    gate.resolve();
    t.false(await login);
  }
});
