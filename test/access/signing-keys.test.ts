/** The keys of the mirror's own tokens: how they change, and what becomes of them on a bad disk. */
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { SignJWT } from 'jose';
import { AccessKeys } from '../../src/access/access-keys.ts';
import { BearerTokens, type Claims } from '../../src/access/bearer-tokens.ts';
import { Clock, HOUR, MINUTE } from '../helpers/clock.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { basic, startGuardedScene } from './guarded-scene.ts';

const DAY = 24 * HOUR;
const SERVICE = 'entrepot-test';
const CLAIMS: Claims = {
  subject: { names: ['user:alice'] },
  grant: { kind: 'none' },
  repositories: ['org/private'],
  catalog: false,
};

interface KeyFile {
  readonly keys: readonly { readonly id: string; readonly pem: string }[];
}

async function open(folder: string, clock: Clock, ttlMs = 5 * MINUTE) {
  const told: string[] = [];
  const keys = await AccessKeys.open(folder, {
    clock,
    damaged: (reason) => void told.push(`damaged: ${reason}`),
    unwritten: (reason) => void told.push(`unwritten: ${reason}`),
  });
  const path = join(folder, 'access-keys.json');
  const file = (): KeyFile => JSON.parse(readFileSync(path, 'utf8')) as KeyFile;
  const create = () => new BearerTokens({ keys, clock, service: SERVICE, ttlMs });
  const issue = async (): Promise<string> => (await create().issue(CLAIMS)).token;
  /** By the keys, and nothing that is remembered. */
  const counts = async (token: string): Promise<boolean> =>
    (await create().verify(token)) !== undefined;
  return { keys, path, file, told, issue, counts };
}

function keyOf(token: string): string {
  const [header = ''] = token.split('.');
  return (JSON.parse(String(Buffer.from(header, 'base64url'))) as { kid: string }).kid;
}

test('after thirty days another key signs; tokens of the one before count to their end, of older ones none', async (t) => {
  const clock = new Clock();
  const { issue, counts, file, path } = await open(await createTempFolder(t), clock);
  const first = await issue();
  t.is(statSync(path).mode & 0o777, 0o600);
  const [oldest] = file().keys;
  clock.advance(30 * DAY - MINUTE);
  const last = await issue();
  t.is(keyOf(last), keyOf(first));
  t.false(await counts(first));
  clock.advance(2 * MINUTE);
  // Also when many ask at once.
  const many = await Promise.all(Array.from({ length: 20 }, issue));
  const [second = ''] = many;
  t.deepEqual([...new Set(many.map(keyOf))], [keyOf(second)]);
  t.not(keyOf(second), keyOf(first));
  t.deepEqual(
    file().keys.map(({ id }) => id),
    [keyOf(second), keyOf(first)],
  );
  t.true(await counts(last));
  clock.advance(4 * MINUTE);
  t.false(await counts(last));

  const forge = async () => {
    const issuedAt = Math.floor(clock.wall() / 1000);
    return new SignJWT({ ent: CLAIMS })
      .setProtectedHeader({ alg: 'ES256', kid: oldest?.id ?? '', typ: 'entrepot+jwt' })
      .setIssuer(SERVICE)
      .setAudience(SERVICE)
      .setIssuedAt(issuedAt)
      .setNotBefore(issuedAt)
      .setExpirationTime(issuedAt + 60)
      .sign(createPrivateKey(oldest?.pem ?? ''));
  };
  t.true(await counts(await forge()));
  clock.advance(30 * DAY);
  const third = await issue();
  t.deepEqual(
    file().keys.map(({ id }) => id),
    [keyOf(third), keyOf(second)],
  );
  t.false(await counts(await forge()));
});

test('keys that the disk refuses count until the process ends, which is told once; they are written when it can be', async (t) => {
  const clock = new Clock();
  const folder = await createTempFolder(t);
  const obstacle = join(folder, 'access-keys.json.new');
  mkdirSync(obstacle);
  const { issue, counts, told } = await open(folder, clock);
  const token = await issue();
  t.true(await counts(token));
  clock.advance(MINUTE);
  await issue();
  t.is(told.length, 1);
  t.regex(told[0] ?? '', /^unwritten: /);
  t.false(await (await open(folder, clock)).counts(token));
  rmdirSync(obstacle);
  clock.advance(MINUTE);
  const [one, other] = await Promise.all([issue(), issue()]);
  t.is(keyOf(one), keyOf(token));
  const next = await open(folder, clock);
  t.true(await next.counts(token));
  t.true(await next.counts(other));
  t.deepEqual([told.length, next.told], [1, []]);
});

const PEM = { type: 'pkcs8', format: 'pem' } as const;
const { privateKey: p256 } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const { privateKey: p384 } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const { privateKey: rsa } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const written = (key: object): string =>
  JSON.stringify({ version: 1, keys: [{ id: 'k', createdAt: Date.UTC(2030, 0, 1), ...key }] });
const SOUND = written({ pem: p256.export(PEM) });
const DAMAGED: Readonly<Record<string, string>> = {
  empty: '',
  'cut short': SOUND.slice(0, -20),
  'something else': '[]',
  'without its time': written({ pem: p256.export(PEM), createdAt: null }),
  'with a number as its name': written({ pem: p256.export(PEM), id: 7 }),
  'of another curve': written({ pem: p384.export(PEM) }),
  'of another kind': written({ pem: rsa.export(PEM) }),
  'no key': written({ pem: 'hunter2' }),
};

for (const [what, text] of Object.entries(DAMAGED)) {
  test(`a file of keys that is ${what} is told without its words, and a new key signs`, async (t) => {
    const folder = await createTempFolder(t);
    writeFileSync(join(folder, 'access-keys.json'), text);
    const { issue, counts, told, file } = await open(folder, new Clock());
    t.is(told.length, 1);
    t.regex(told[0] ?? '', /^damaged: [\w -]+$/);
    t.notRegex(told[0] ?? '', /hunter2/);
    const token = await issue();
    t.true(await counts(token));
    t.deepEqual(
      file().keys.map(({ id }) => id),
      [keyOf(token)],
    );
  });
}

test('the next process has the keys of the one before', async (t) => {
  const clock = new Clock();
  const folder = await createTempFolder(t);
  writeFileSync(join(folder, 'access-keys.json'), SOUND, { mode: 0o644 });
  const first = await open(folder, clock);
  const token = await first.issue();
  t.is(keyOf(token), 'k');
  const second = await open(folder, clock);
  t.true(await second.counts(token));
  t.is(keyOf(await second.issue()), 'k');
  clock.advance(31 * DAY);
  await second.issue();
  t.is(statSync(second.path).mode & 0o777, 0o600);
});

test('a key of a clock that ran ahead does not sign for ever; one that was set back a little changes nothing', async (t) => {
  const clock = new Clock();
  const { issue, counts } = await open(await createTempFolder(t), clock);
  clock.advance(3650 * DAY);
  const ahead = await issue();
  clock.setBack(HOUR);
  t.is(keyOf(await issue()), keyOf(ahead));
  // It is of a time that is still to come.
  t.false(await counts(ahead));
  clock.setBack(3650 * DAY);
  const token = await issue();
  t.not(keyOf(token), keyOf(ahead));
  t.true(await counts(token));
  t.is(keyOf(await issue()), keyOf(token));
});

test('clients log in over a change of keys, a restart and a damaged file', async (t) => {
  const clock = new Clock();
  const scene = await startGuardedScene(t, { clock });
  const login = async ({ ask }: Pick<typeof scene, 'ask'>): Promise<string> => {
    const scope = 'scope=repository:org/private:pull';
    const { status, body } = await ask(`/token?service=x&${scope}`, {
      headers: basic('alice', 'wonder'),
    });
    t.is(status, 200);
    return (JSON.parse(String(body)) as { token: string }).token;
  };
  const pull = async ({ ask }: Pick<typeof scene, 'ask'>, token: string): Promise<number> =>
    (await ask('/v2/org/private/manifests/v1', { headers: { authorization: `Bearer ${token}` } }))
      .status;
  const first = await login(scene);
  clock.advance(30 * DAY);
  const second = await login(scene);
  t.not(keyOf(first), keyOf(second));
  t.deepEqual([await pull(scene, first), await pull(scene, second)], [401, 200]);
  await scene.mirror.stop();
  const { storePath, config } = scene.mirror;
  const options = { clock, storePath, ...(config.access && { access: config.access }) };
  const again = await startGuardedScene(t, options);
  t.is(await pull(again, second), 200);
  await again.mirror.stop();
  writeFileSync(join(storePath, 'access-keys.json'), '{"keys":[');
  const anew = await startGuardedScene(t, options);
  t.is(await pull(anew, second), 401);
  t.is(await pull(anew, await login(anew)), 200);
  const { log } = anew.mirror;
  t.true(log.some(({ msg }) => msg === 'the keys of tokens are damaged: clients log in anew'));
});
