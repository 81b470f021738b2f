import test from 'ava';
import { X509Certificate } from 'node:crypto';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { findStores, readStores } from '../../src/config/notation-stores.ts';
import { issue } from '../admission/notation/forger.ts';
import { createFolder } from './config-folder.ts';

const root = await issue({ subject: 'CN=Root', isCa: true });
const middle = await issue({ subject: 'CN=Middle', isCa: true, issuer: root });
const leaf = await issue({ issuer: middle });
const alone = await issue({ subject: 'CN=Alone' });
const [ROOT, MIDDLE, LEAF, ALONE] = [root, middle, leaf, alone].map(({ chain }) =>
  pemOf(chain[0]!),
);
const BOTH = `some words\n${ROOT}\n${MIDDLE}\n`;

/** Files of a folder, and how many certificates of which type are in it, or what is wrong. */
const FOLDERS: readonly (readonly [string, Record<string, string>, string])[] = [
  [
    'one of each type',
    { 'ca/a/r.pem': ROOT!, 'signingAuthority/b/m.crt': MIDDLE!, 'tsa/c/r.CER': ROOT! },
    'ca signingAuthority tsa',
  ],
  ['two in a file', { 'ca/a/both.pem': BOTH }, 'ca ca'],
  ['two names', { 'ca/a/r.pem': ROOT!, 'ca/b/m.pem': MIDDLE! }, 'ca ca'],
  ['one that signs itself', { 'ca/a/alone.pem': ALONE! }, 'ca'],
  [
    'other files, hidden ones and folders within',
    {
      'ca/a/r.pem': ROOT!,
      'ca/a/README.md': '',
      'ca/a/.r.pem': 'x',
      'ca/.a/r.pem': 'x',
      'ca/a/more/r.pem': 'x',
      'other/a/r.pem': 'x',
    },
    'ca',
  ],
  ['a folder that ends like a file', { 'ca/a/r.pem': ROOT!, 'ca/a.pem/r.txt': '' }, 'ca'],
  ['nothing', { 'ca/a/README': '' }, 'has no certificate'],
  ['no folder of types', {}, 'write the folder that Notation calls trust-store'],
  ['an empty file', { 'ca/a/r.pem': '' }, 'r.pem is no certificate'],
  ['a text', { 'ca/a/r.pem': 'x' }, 'r.pem is no certificate'],
  [
    'a broken one',
    { 'ca/a/r.pem': ROOT!.replace(/MII\w{8}/, 'MIIAAAAAAAA') },
    'r.pem is no certificate',
  ],
  ['one of 1 MiB', { 'ca/a/r.pem': ROOT! + ' '.repeat(2 ** 20) }, 'longer than 1 MiB'],
  [
    'one of a signer',
    { 'ca/a/leaf.pem': LEAF! },
    'leaf.pem has a certificate that is of no authority',
  ],
  [
    'one of a signer behind others',
    { 'ca/a/r.pem': BOTH + LEAF! },
    'of no authority and not signed by itself',
  ],
  [
    'what stands between among clocks',
    { 'tsa/a/m.pem': MIDDLE! },
    'm.pem has a certificate that is no root',
  ],
  ['one that signs itself among clocks', { 'tsa/a/m.pem': ALONE! }, 'that is no root'],
  [
    'more files than are read',
    Object.fromEntries(Array.from({ length: 513 }, (_, at) => [`ca/a/${at}.pem`, 'x'])),
    'more than 512',
  ],
  ['more certificates than are read', { 'ca/a/r.pem': ROOT!.repeat(1001) }, 'more than 1000'],
];

for (const [name, files, found] of FOLDERS) {
  test(`trust stores with ${name}: ${found}`, (t) => {
    const named = Object.entries(files).map(([path, text]) => [`x509/${path}`, text]);
    const folder = createFolder(t, Object.fromEntries(named) as Record<string, string>);
    const told = tell(folder);
    t.true(told === found || (told.includes(folder) && told.includes(found)), told);
  });
}

test('a certificate in DER, and links, are read; all folders on the way are looked at', (t) => {
  const folder = createFolder(t, {});
  const store = join(folder, 'x509/ca/a');
  mkdirSync(dirname(store), { recursive: true });
  mkdirSync(join(folder, 'data'));
  writeFileSync(join(folder, 'data/r.crt'), root.chain[0]!);
  symlinkSync(join(folder, 'data'), store);
  t.is(tell(folder), 'ca');
  const { places } = findStores(folder);
  t.deepEqual(
    places.map((place) => place.slice(folder.length)),
    ['', '/x509', '/x509/ca', '/x509/ca/a', '/x509/signingAuthority', '/x509/tsa'],
  );
  rmSync(join(folder, 'data'), { recursive: true });
  t.true(tell(folder).includes('has no certificate'));
});

function tell(folder: string): string {
  try {
    return readStores(folder, findStores(folder).files)
      .map(({ type }) => type)
      .join(' ');
  } catch (error) {
    return (error as Error).message;
  }
}

function pemOf(der: Buffer): string {
  return new X509Certificate(der).toString();
}
