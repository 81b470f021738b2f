import { ASN1Obj } from '@sigstore/core';
import test from 'ava';
import { KeyObject, sign } from 'node:crypto';
import {
  BasicConstraintsExtension,
  ca,
  DAY,
  digitalSignature,
  extendedUsage,
  issue,
  keyCertSign,
  KeyUsageFlags,
  NAME,
  rootOf,
  seal,
  usage,
  type Party,
  type Wish,
} from './forger.ts';
import { codeOf, judge, MADE_AT } from './signed-by-notation.ts';

const IDENTITY = 'x509.subject: C=US, ST=WA, O=Forgery';
const FOR_CODE = '1.3.6.1.5.5.7.3.3';
const FOR_SERVERS = '1.3.6.1.5.5.7.3.1';
const FOR_TIMESTAMPS = '1.3.6.1.5.5.7.3.8';
const FOR_ANYTHING = '2.5.29.37.0';
const SIGNING = usage(digitalSignature);
const NO_AUTHORITY = new BasicConstraintsExtension(false, undefined, true);
const RSA = {
  name: 'RSASSA-PKCS1-v1_5',
  publicExponent: new Uint8Array([1, 0, 1]),
  hash: 'SHA-256',
} as const;

const root = await issue({ subject: 'CN=Root', isCa: true });
const middle = await issue({ subject: 'CN=Middle', isCa: true, issuer: root });

/** The certificate of the signer. */
const LEAVES: readonly (readonly [string, Wish, string])[] = [
  ['a usual one', {}, 'admitted'],
  ['one that says that it is no authority', { more: [NO_AUTHORITY] }, 'admitted'],
  ['one for code', { more: [extendedUsage(FOR_CODE)] }, 'admitted'],
  [
    'one for code and something of its own',
    { more: [extendedUsage(FOR_CODE, '1.2.3')] },
    'admitted',
  ],
  [
    'one that also binds its signer',
    { extensions: [usage(digitalSignature | KeyUsageFlags.nonRepudiation)] },
    'admitted',
  ],
  ['one with something unknown', { more: [extendedUsage('1.2.3')] }, 'admitted'],
  ['an authority', { extensions: [...ca()] }, 'certificate'],
  [
    'an authority that may sign',
    { extensions: [SIGNING, new BasicConstraintsExtension(true, undefined, true)] },
    'certificate',
  ],
  [
    'an authority, said as if it did not matter',
    { extensions: [SIGNING, new BasicConstraintsExtension(true, undefined, false)] },
    'certificate',
  ],
  ['no key usage', { extensions: [] }, 'certificate'],
  [
    'a key usage that nobody has to heed',
    { extensions: [usage(digitalSignature, false)] },
    'certificate',
  ],
  [
    'a key for something else',
    { extensions: [usage(KeyUsageFlags.nonRepudiation)] },
    'certificate',
  ],
  ...(
    [
      'keyEncipherment',
      'dataEncipherment',
      'keyAgreement',
      'keyCertSign',
      'cRLSign',
      'encipherOnly',
      'decipherOnly',
    ] as const
  ).map((more): [string, Wish, string] => [
    `a key for more: ${more}`,
    { extensions: [usage(digitalSignature | KeyUsageFlags[more])] },
    'certificate',
  ]),
  ...[
    FOR_SERVERS,
    FOR_TIMESTAMPS,
    FOR_ANYTHING,
    '1.3.6.1.5.5.7.3.2',
    '1.3.6.1.5.5.7.3.4',
    '1.3.6.1.5.5.7.3.9',
  ].map((use): [string, Wish, string] => [
    `one for something else: ${use}`,
    { more: [extendedUsage(FOR_CODE, use)] },
    'certificate',
  ]),
  [
    'a key usage twice',
    { extensions: [SIGNING, usage(digitalSignature | keyCertSign)] },
    'malformed',
  ],
  ['RSA of 1024 bits', { key: { ...RSA, modulusLength: 1024 } }, 'key'],
  ['RSA of 2304 bits', { key: { ...RSA, modulusLength: 2304 } }, 'key'],
  ['RSA of 2048 bits', { key: { ...RSA, modulusLength: 2048 } }, 'admitted'],
  ['Ed25519', { key: { name: 'Ed25519' } }, 'key'],
  ['one signed with SHA-1', { hash: 'SHA-1' }, 'certificate'],
  ['one that has ended', { until: MADE_AT - 1000 }, 'validity'],
  ['one that is still to begin', { from: MADE_AT + 1000 }, 'validity'],
  ['one that ends now', { until: MADE_AT }, 'admitted'],
  ['one that begins now', { from: MADE_AT }, 'admitted'],
  ['no organisation', { subject: 'C=US, ST=WA, CN=Forgery' }, 'identity'],
  ['two organisations', { subject: `${NAME}, O=Another` }, 'identity'],
  [
    'two organisations the other way round',
    { subject: 'C=US, ST=WA, O=Another, O=Forgery' },
    'identity',
  ],
  ['two names in one', { subject: 'C=US, ST=WA, O=Forgery+CN=x' }, 'identity'],
  ['a name with a comma', { subject: 'C=US, ST=WA, CN="a, O=Forgery"' }, 'identity'],
  ['more names', { subject: `${NAME}, CN=x, OU=y, L=z` }, 'admitted'],
  ['a name that no rule can have', { subject: `${NAME}, DC=example` }, 'admitted'],
];

/** What stands between the signer and the root. */
const AUTHORITIES: readonly (readonly [string, Wish, string])[] = [
  ['a usual one', { isCa: true }, 'admitted'],
  ['one that nothing but a signer may stand below', { extensions: ca(0) }, 'admitted'],
  ['no authority', { extensions: [usage(keyCertSign)] }, 'certificate'],
  [
    'one that says that it is no authority',
    { extensions: [NO_AUTHORITY, usage(keyCertSign)] },
    'certificate',
  ],
  [
    'an authority, said as if it did not matter',
    { extensions: [new BasicConstraintsExtension(true, undefined, false), usage(keyCertSign)] },
    'certificate',
  ],
  ['no key usage', { extensions: ca().slice(0, 1) }, 'certificate'],
  [
    'a key usage that nobody has to heed',
    { extensions: [ca()[0]!, usage(keyCertSign, false)] },
    'certificate',
  ],
  [
    'a key that signs no certificates',
    { extensions: [ca()[0]!, usage(KeyUsageFlags.cRLSign)] },
    'certificate',
  ],
  ['RSA of 1024 bits', { isCa: true, key: { ...RSA, modulusLength: 1024 } }, 'certificate'],
  ['RSA of 2304 bits', { isCa: true, key: { ...RSA, modulusLength: 2304 } }, 'admitted'],
  ['Ed25519', { isCa: true, key: { name: 'Ed25519' } }, 'certificate'],
  ['one signed with SHA-1', { isCa: true, hash: 'SHA-1' }, 'certificate'],
  ['one that has ended', { isCa: true, until: MADE_AT - DAY / 2 }, 'validity'],
  ['one that is still to begin', { isCa: true, from: MADE_AT + 1000 }, 'validity'],
];

for (const [name, wish, code] of LEAVES) {
  test(`the certificate of the signer: ${name} is ${code}`, async (t) => {
    const signer = await issue({ issuer: middle, ...wish });
    t.is(verdictOf(signer), code);
  });
}

for (const [name, wish, code] of AUTHORITIES) {
  test(`the certificate of what stands between: ${name} is ${code}`, async (t) => {
    const between = await issue({ subject: 'CN=Between', issuer: root, ...wish });
    t.is(verdictOf(await issue({ issuer: between })), code);
  });
}

for (const [end, name] of ['begins', 'ends'].entries()) {
  test(`a certificate that ${name} in a month that there is not: malformed`, async (t) => {
    const alone = await issue({ until: MADE_AT + 10 * DAY });
    const certificate = ASN1Obj.parseBuffer(Buffer.from(alone.chain[0]!));
    const [content, , signature] = certificate.subs;
    const times = content!.subs[4]!.subs;
    const { tag, value } = times[end]!;
    const wrong = value.toString().replace(/^(\d\d)\d\d/, '$113');
    times[end] = new ASN1Obj(tag, Buffer.from(wrong), []);
    const key = KeyObject.from(alone.keys.privateKey);
    const signed = Buffer.concat([Buffer.alloc(1), sign('sha256', content!.toDER(), key)]);
    certificate.subs[2] = new ASN1Obj(signature!.tag, signed, []);
    const chain = [Buffer.from(certificate.toDER())];
    for (const form of ['jws', 'cose'] as const) {
      const envelope = seal(form, { ...alone, chain });
      t.is(codeOf(judge(envelope, form, { identities: [IDENTITY], level: 'audit' })), 'malformed');
    }
  });
}

test('RSA with a salt that is not as long as the hash: signature', async (t) => {
  const signer = await issue({ issuer: middle, key: { ...RSA, modulusLength: 2048 } });
  for (const saltLength of [0, 20, 64]) {
    const sealed = seal('jws', signer, { saltLength });
    const judging = { stores: { ca: [rootOf(root)] }, identities: [IDENTITY] };
    t.is(codeOf(judge(sealed, 'jws', judging)), 'signature');
  }
});

test('an authority that may have none below it has none: certificate', async (t) => {
  const narrow = await issue({ subject: 'CN=Narrow', issuer: root, extensions: ca(0) });
  const below = await issue({ subject: 'CN=Below', issuer: narrow, isCa: true });
  t.is(verdictOf(await issue({ issuer: below })), 'certificate');
});

test('a certificate that names another authority than the one that signed it: chain', async (t) => {
  const signer = await issue({ issuer: { ...middle, subject: 'CN=Else' } });
  t.is(verdictOf(signer), 'chain');
});

test('a certificate that an authority of the same name did not sign: chain', async (t) => {
  const namesake = await issue({ subject: 'CN=Root', isCa: true });
  const { chain, ...signer } = await issue({ issuer: namesake });
  t.is(verdictOf({ ...signer, chain: [chain[0]!, ...root.chain] }), 'chain');
});

function verdictOf(signer: Party): string {
  const judging = { stores: { ca: [rootOf(root)] }, identities: [IDENTITY] };
  const codes = (['jws', 'cose'] as const).map((form) => {
    const algorithm = form === 'jws' ? 'PS256' : -37;
    const isOdd = signer.keys.publicKey.algorithm.name !== 'ECDSA';
    return codeOf(judge(seal(form, signer, isOdd ? { algorithm } : {}), form, judging));
  });
  return [...new Set(codes)].join(' ');
}
