import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { readIdentity } from '../../../src/admission/signatures/certificate.ts';
import { IDENTITY, ISSUER, type Json } from './authority.ts';
import { add, get, getText, set } from './mutations.ts';
import { authority, judge, rogue, signed } from './keyless.ts';
import { codeOf } from './signed-by-cosign.ts';

const bundle = await signed();
const certificate: Buffer<ArrayBuffer> = Buffer.from(
  getText(bundle, 'verificationMaterial.certificate.rawBytes'),
  'base64',
);
const OTHER_NAME = join(import.meta.dirname, '..', 'fixtures', 'sigstore', 'other-name.json');

/** Whether an identity of the configuration means the one that signed. */
const IDENTITIES: readonly (readonly [identity: string, isMeant: boolean])[] = [
  [IDENTITY, true],
  ['https://github.com/org/*/.github/workflows/release.yml@refs/heads/main', true],
  ['https://github.com/org/**', true],
  ['https://github.com/{org,team}/app/.github/workflows/*@refs/heads/main', true],
  ['https://github.com/org/ap[a-p]/**', true],
  ['**', true],
  ['https://github.com/*/.github/workflows/release.yml@refs/heads/main', false],
  ['https://github.com/*', false],
  ['*', false],
  ['https://github.com/org/app', false],
  ['https://github.com/org/app/**@refs/tags/*', false],
  ['https://github.com/org/ap[!p]/**', false],
  ['https://github.com/org/.+', false],
  ['.*', false],
  ['https://github.com/org/app/.github/workflows/release.ym.@refs/heads/main', false],
  ['https://github.com/org/app/.github/workflows/release.yml@refs/heads/mai', false],
  ['github.com/org/**', false],
  ['HTTPS://GITHUB.COM/org/**', false],
  ['', false],
];

for (const [identity, isMeant] of IDENTITIES) {
  test(`the identity ${JSON.stringify(identity)} means ${isMeant ? 'who signed' : 'somebody else'}`, (t) => {
    const judged = judge(bundle, [{ kind: 'keyless', identity, issuer: ISSUER }]);
    t.is(codeOf(judged), isMeant ? 'admitted' : 'identity');
    // Whoever signed is told by the name in the certificate.
    if (isMeant) t.like(judged, { signer: { identity: IDENTITY, issuer: ISSUER } });
  });
}

test('an issuer is no pattern', (t) => {
  for (const issuer of ['*', '**', 'https://token.actions.githubusercontent.*', `${ISSUER}/`, '']) {
    const judged = judge(bundle, [{ kind: 'keyless', identity: IDENTITY, issuer }]);
    t.is(codeOf(judged), 'issuer', issuer);
  }
});

test('the identity of one who counts and the issuer of another one are nobody who counts', (t) => {
  const judged = judge(bundle, [
    { kind: 'keyless', identity: IDENTITY, issuer: 'https://accounts.example.com' },
    { kind: 'keyless', identity: 'https://github.com/other/**', issuer: ISSUER },
  ]);
  t.is(codeOf(judged), 'issuer');
});

test('a certificate counts that names its holder once, in ASCII, and is for signing code', (t) => {
  t.deepEqual(readIdentity(certificate), { identity: IDENTITY, issuer: ISSUER });
  const odd: Readonly<Record<string, Buffer<ArrayBuffer>>> = {
    'for servers': replace('06082b06010505070303', '06082b06010505070301'),
    'of a host': replace(addressed('86', IDENTITY), addressed('82', IDENTITY)),
    'with two addresses': replace(addressed('86', IDENTITY), twoNames()),
    'with a letter that is none': replace(hex(IDENTITY), hex(IDENTITY).replace(/^68/, 'e8')),
    'with an issuer whose letter is none': replace(hex(ISSUER), hex(ISSUER).replace(/^68/, 'e8')),
    'with a line break in its name': replace(hex(IDENTITY), hex(IDENTITY).replace(/^68/, '0a')),
    'with nothing for a letter': replace(hex(IDENTITY), hex(IDENTITY).replace(/^68/, '00')),
    'without an issuer': replace('060a2b0601040183bf300108', '060a2b0601040183bf300109'),
  };
  for (const [name, der] of Object.entries(odd)) {
    t.throws(() => readIdentity(der), { code: 'certificate' }, name);
  }
});

test('a name that is neither an address nor an e-mail is none', (t) => {
  const real = JSON.parse(readFileSync(OTHER_NAME, 'utf8')) as Json;
  const der = getText(real, 'verificationMaterial.certificate.rawBytes');
  t.throws(() => readIdentity(Buffer.from(der, 'base64')), { code: 'certificate' });
});

/** What the trust root says of an authority that has ended before, or begins after. */
const ENDED = { start: '2020-01-01T00:00:00Z', end: '2020-01-02T00:00:00Z' };
const LATER = { start: new Date(authority.at + 3_600_000).toISOString() };
const AUTHORITIES: readonly (readonly [list: string, at: string, code: string])[] = [
  ['tlogs', 'publicKey.validFor', 'log-entry'],
  ['ctlogs', 'publicKey.validFor', 'certificate'],
  ['certificateAuthorities', 'validFor', 'certificate'],
];

for (const [list, at, code] of AUTHORITIES) {
  test(`of ${list} in the trust root those count that were in use then`, async (t) => {
    for (const log of ['dsse 0.0.1', 'hashedrekord 0.0.2'] as const) {
      const one = await signed({ log });
      for (const validFor of [ENDED, LATER]) {
        t.is(codeOf(judge(one, undefined, edited(`${list}.0.${at}`, validFor))), code, log);
      }
      // The next one has another key: both are listed while signatures of both are about.
      const both = edited(
        list,
        [edited(`${list}.0.${at}`, ENDED)[list], authority.root[list]].flat() as Json[],
      );
      t.is(codeOf(judge(one, undefined, both)), 'admitted', log);
      t.is(
        codeOf(
          judge(
            one,
            undefined,
            edited(list, list === 'certificateAuthorities' ? [ended(list, at)] : []),
          ),
        ),
        code,
      );
    }
  });
}

test('of timestampAuthorities in the trust root those count that were in use then', async (t) => {
  const one = await signed({ log: 'hashedrekord 0.0.2' });
  for (const validFor of [ENDED, LATER]) {
    t.is(
      codeOf(judge(one, undefined, edited('timestampAuthorities.0.validFor', validFor))),
      'timestamp',
    );
  }
  t.is(codeOf(judge(one, undefined, edited('timestampAuthorities', []))), 'timestamp');
});

test('a witness whom the trust root does not know tells nothing, and those that it knows are enough', async (t) => {
  const stamped = await signed({ isStamped: true });
  t.is(codeOf(judge(stamped, undefined, edited('timestampAuthorities', []))), 'admitted');
  const entry = get(await signed({ laterMs: 1000 }, rogue), 'verificationMaterial.tlogEntries.0');
  const inTwoLogs = add('verificationMaterial.tlogEntries', entry)(bundle);
  t.is(codeOf(judge(inTwoLogs)), 'admitted');
  t.is(codeOf(judge(set('verificationMaterial.tlogEntries', [entry!])(bundle))), 'log-entry');
  t.is(codeOf(judge(set('verificationMaterial.tlogEntries', [entry!])(stamped))), 'log-entry');
});

function edited(path: string, value: Json | Json[]): Json {
  return set(path, value)(authority.root);
}

function ended(list: string, at: string): Json {
  return get(edited(`${list}.0.${at}`, ENDED), `${list}.0`) as Json;
}

function replace(one: string, other: string): Buffer<ArrayBuffer> {
  const written = certificate.toString('hex');
  if (!written.includes(one)) throw new Error(`the certificate has no ${one}`);
  return Buffer.from(written.replace(one, other), 'hex');
}

function hex(text: string): string {
  return Buffer.from(text).toString('hex');
}

/** A name within the list of names. */
function addressed(tag: string, name: string): string {
  return `${tag}${name.length.toString(16).padStart(2, '0')}${hex(name)}`;
}

/** Two names that are as long as the one. */
function twoNames(): string {
  const first = 'https://github.com/org/app/.github/';
  return addressed('86', first) + addressed('86', IDENTITY.slice(first.length + 2));
}
