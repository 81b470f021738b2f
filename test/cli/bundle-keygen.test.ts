import { spawnSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { readSigningKey, readTrustedKey } from '../../src/cli/key-files.ts';
import { UsageError } from '../../src/cli/command-context.ts';
import { SigningKey } from '../../sync/bundle/signing-key.ts';
import { createFolder } from '../config/config-folder.ts';
import { runInFolder } from './run-in-folder.ts';

for (const [algorithm, args] of [
  ['ed25519', []],
  ['p256', ['--algorithm', 'p256']],
] as const) {
  test(`bundle keygen writes a key of ${algorithm} for its owner alone, and its public half beside it`, async (t) => {
    const cwd = createFolder(t, {});
    const run = await runInFolder(t, cwd, ['bundle', 'keygen', '--out', 'a.key', ...args]);
    const [key, trusted] = [readSigningKey('a.key', cwd), readTrustedKey('a.key.pub', cwd)];
    t.is(key.public.id, trusted.id);
    t.deepEqual(run, {
      code: 0,
      stdout: [
        `key     ${key.public.id}`,
        `private ${cwd}/a.key: for whoever makes bundles, and nobody else`,
        `public  ${cwd}/a.key.pub: for sites, under bundles.trust`,
        '',
      ].join('\n'),
      stderr: '',
    });
    t.is(statSync(join(cwd, 'a.key')).mode & 0o777, 0o600);
    const bytes = Buffer.from('what is signed');
    t.true(trusted.verify(bytes, key.sign(bytes)));
    t.false(trusted.verify(Buffer.from('what is not'), key.sign(bytes)));
    t.false(SigningKey.generate(algorithm).public.verify(bytes, key.sign(bytes)));
    const json = await runInFolder(t, cwd, ['bundle', 'keygen', '--out', 'b', '--json', ...args]);
    const told = JSON.parse(json.stdout) as Record<string, string>;
    t.deepEqual(told, {
      id: readTrustedKey('b.pub', cwd).id,
      algorithm,
      key: join(cwd, 'b'),
      publicKey: join(cwd, 'b.pub'),
    });
  });
}

test('bundle keygen never writes over a key, and says what is wrong with its line', async (t) => {
  const cwd = createFolder(t, { 'a.key': 'mine', 'b.key.pub': 'mine too' });
  for (const [file, there] of [
    ['a.key', 'a.key'],
    ['b.key', 'b.key.pub'],
  ] as const) {
    const { code, stderr } = await runInFolder(t, cwd, ['bundle', 'keygen', '--out', file]);
    const reason = `${cwd}/${there} is there already, and a key that is written over is lost: name another file`;
    t.deepEqual([code, stderr], [64, `entrepot: ${reason}\n`]);
  }
  t.deepEqual(readdirSync(cwd).toSorted(), ['a.key', 'b.key.pub']);
  const nowhere = await runInFolder(t, cwd, ['bundle', 'keygen', '--out', 'none/a.key']);
  t.is(nowhere.code, 64);
  t.is(
    nowhere.stderr,
    `entrepot: the key ${cwd}/none/a.key cannot be written: no such file or directory; name a file in a folder that is there\n`,
  );
  const wrong = await runInFolder(t, cwd, ['bundle', 'keygen', '--algorithm', 'rsa']);
  t.is(wrong.code, 64);
  t.regex(wrong.stderr, /--algorithm rsa: write one of ed25519, p256/);
  t.regex(wrong.stderr, /--out <file> is missing/);
});

test('a file that is no key of its kind is refused with what to do', (t) => {
  const cwd = createFolder(t, {});
  const key = SigningKey.generate();
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'secp384r1' });
  const encrypted = {
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'a',
  } as const;
  const files: Record<string, string> = {
    private: key.format(),
    public: key.public.format(),
    passphrase: privateKey.export(encrypted),
    sec1: privateKey.export({ type: 'sec1', format: 'pem' }),
    curve: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    otherCurve: publicKey.export({ type: 'spki', format: 'pem' }),
    cut: key.format().replace(/.{20}\n-----END/, '\n-----END'),
    other: 'no key\n',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(cwd, name), text);
  const refusals = (read: (file: string, cwd: string) => unknown): Record<string, string> =>
    Object.fromEntries(
      [...Object.keys(files), 'none'].flatMap((name) => {
        try {
          read(name, cwd);
          return [];
        } catch (error) {
          t.true(error instanceof UsageError, name);
          return [[name, (error as Error).message.replace(`${cwd}/`, '').replace(/\(.*\)/, '(…)')]];
        }
      }),
    );
  const none =
    'the key none cannot be read: no such file or directory; name a file that "entrepot bundle keygen" wrote';
  t.deepEqual(refusals(readSigningKey), {
    public:
      'public: this is a public key: name the private one, which "entrepot bundle keygen" wrote beside it',
    passphrase:
      'passphrase: this key has a passphrase: write it without one with "openssl pkcs8 -topk8 -nocrypt"',
    sec1: 'sec1: this key is not in PKCS#8: write it in that form with "openssl pkcs8 -topk8 -nocrypt"',
    curve:
      'curve: this is a key of kind ec secp384r1: make one of Ed25519 or P-256 with "entrepot bundle keygen"',
    otherCurve:
      'otherCurve: this is a public key: name the private one, which "entrepot bundle keygen" wrote beside it',
    cut: 'cut: this key cannot be read (…): take another copy of it',
    other: 'other: this is no key in PEM (…): make one with "entrepot bundle keygen"',
    none,
  });
  const isPrivate = 'this is a private key: name the public one, which ends in .pub';
  t.deepEqual(refusals(readTrustedKey), {
    ...Object.fromEntries(
      ['private', 'passphrase', 'sec1', 'curve', 'cut'].map((name) => [
        name,
        `${name}: ${isPrivate}`,
      ]),
    ),
    otherCurve:
      'otherCurve: this is a key of kind ec secp384r1: make one of Ed25519 or P-256 with "entrepot bundle keygen"',
    other: 'other: this is no key in PEM (…): make one with "entrepot bundle keygen"',
    none,
  });
});

test('a point that is written in its short form is the same key', (t) => {
  const key = SigningKey.generate('p256');
  const { x, y } = createPublicKey(key.public.format()).export({ format: 'jwk' });
  const last = Buffer.from(y!, 'base64url').at(-1)! % 2;
  // The SPKI of P-256 with a point of 33 bytes.
  const der = Buffer.concat([
    Buffer.from('3039301306072a8648ce3d020106082a8648ce3d030107032200', 'hex'),
    Buffer.from([2 + last]),
    Buffer.from(x!, 'base64url'),
  ]);
  const cwd = createFolder(t, {});
  const pem = `-----BEGIN PUBLIC KEY-----\n${der.toString('base64')}\n-----END PUBLIC KEY-----\n`;
  writeFileSync(join(cwd, 'short.pub'), pem);
  t.is(readTrustedKey('short.pub', cwd).id, key.public.id);
  const openssl = spawnSync('openssl', ['pkey', '-pubin', '-in', 'short.pub', '-noout'], { cwd });
  if (!openssl.error) t.is(openssl.status, 0);
  t.not(readFileSync(join(cwd, 'short.pub'), 'utf8'), key.public.format());
});
