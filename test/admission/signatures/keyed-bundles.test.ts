import { sign } from 'node:crypto';
import test from 'ava';
import { COSIGN } from '../fixtures/cosign.ts';
import { base64, newPair, type Json } from './authority.ts';
import { chain, drop, edit, getText, repeat, reword, set, take, text } from './mutations.ts';
import { bundleOf, codeOf, judgeBundle, type Judging } from './signed-by-cosign.ts';

const KINDS = Object.keys(COSIGN);
const SPDX = 'https://spdx.dev/Document';
const SIGNATURE = 'dsseEnvelope.signatures.0.sig';
const PAYLOAD = 'dsseEnvelope.payload';

const good = bundleOf('p256');

type Case = readonly [name: string, bundle: Json | string, code: string, judging?: Judging];

const keyless: Judging = { signers: [{ kind: 'keyless', identity: '**', issuer: 'a' }] };
const BUNDLES: readonly Case[] = [
  ['the signature of another image', bundleOf('p384'), 'subject', { keys: KINDS }],
  [
    'the signature of another image by its statement',
    take(PAYLOAD, bundleOf('p384'))(good),
    'signature',
    { image: 'p384' },
  ],
  ['another signature by the same key', take(SIGNATURE, bundleOf('p256', SPDX))(good), 'signature'],
  [
    'a signature by another key that hints at ours',
    take('verificationMaterial', good)(signedBy(newPair().privateKey)),
    'signature',
  ],
  ['a statement with a space more', text(PAYLOAD, (value) => `${value} `)(good), 'signature'],
  [
    'a signature of our type for a payload of another one',
    signedBy(newPair().privateKey),
    'signature',
  ],
  ['a signature of nothing', set(PAYLOAD, '')(good), 'malformed'],
  ['two signatures', repeat('dsseEnvelope.signatures', 2)(good), 'signatures'],
  [
    'a wrong signature before the right one',
    edit('dsseEnvelope.signatures', (list) => [{ sig: 'AAAA' }, ...(list as Json[])])(good),
    'signatures',
  ],
  ['no signature', set('dsseEnvelope.signatures', [])(good), 'signatures'],
  [
    'an attestation of an unknown kind',
    text(PAYLOAD, (value) =>
      value.replace(/https:\/\/spdx.dev\/Document/, 'https://slsa.dev/provenance/v1'),
    )(bundleOf('p256', SPDX)),
    'predicate-type',
    { kind: 'attestation' },
  ],
  ['a signature in place of an attestation', good, 'predicate-type', { kind: 'attestation' }],
  [
    'an attestation with another predicate',
    text(PAYLOAD, (value) => value.replace('"app"', '"oth"'))(bundleOf('p256', SPDX)),
    'signature',
    { kind: 'attestation' },
  ],
  [
    'an attestation that was given the type of another one',
    text(PAYLOAD, (value) => value.replace('openvex.dev/ns', 'spdx.dev/Document'))(
      bundleOf('p256', 'https://openvex.dev/ns'),
    ),
    'signature',
    { kind: 'attestation' },
  ],
  ['a signature with a key where only certificates count', good, 'identity-asked', keyless],
  ['a signature where nobody counts', good, 'identity-asked', { signers: [] }],
  [
    'a signature where only Notation counts',
    good,
    'identity-asked',
    { signers: [{ kind: 'notation', identity: 'a', level: 'strict' }] },
  ],
  ['a signature by a key of a name that is unknown', good, 'signature', { keys: ['unknown'] }],
  [
    'a certificate where only keys count',
    chain(
      drop('verificationMaterial.publicKey'),
      set('verificationMaterial.certificate', { rawBytes: base64(Buffer.from('a')) }),
    )(good),
    'key-asked',
  ],
  [
    'a certificate where only keys count, in a chain',
    chain(
      drop('verificationMaterial.publicKey'),
      set('mediaType', 'application/vnd.dev.sigstore.bundle+json;version=0.2'),
      set('verificationMaterial.x509CertificateChain', { certificates: [{ rawBytes: 'AAAA' }] }),
    )(good),
    'key-asked',
  ],
  [
    'a certificate without a trust root',
    chain(
      drop('verificationMaterial.publicKey'),
      set('verificationMaterial.certificate', { rawBytes: 'AAAA' }),
    )(good),
    'trust-root',
    keyless,
  ],
  ['neither key nor certificate', drop('verificationMaterial.publicKey')(good), 'malformed'],
  [
    'a payload of another type',
    set('dsseEnvelope.payloadType', 'application/json')(good),
    'payload-type',
  ],
  ['a hint twice', JSON.stringify(good).replace('"hint":', '"hint":"a","hint":'), 'malformed'],
  [
    'base64 in the alphabet of addresses',
    reword(SIGNATURE, (value) => `${value.slice(0, 4)}-_-_${value.slice(8)}`)(good),
    'malformed',
  ],
];

for (const [name, bundle, code, judging] of BUNDLES) {
  test(`a bundle with ${name} is refused: ${code}`, (t) => {
    const judged = judgeBundle(bundle, 'p256', judging);
    t.is(codeOf(judged), code, JSON.stringify(judged));
  });
}

test('the hint of a key tells nothing: each key that counts is tried', (t) => {
  for (const hint of [
    '',
    'another',
    getText(bundleOf('p384'), 'verificationMaterial.publicKey.hint'),
  ]) {
    const bundle = set('verificationMaterial.publicKey.hint', hint)(good);
    t.like(judgeBundle(bundle, 'p256', { keys: KINDS }), { signer: { key: 'p256' } });
  }
});

/** A signature of the statement by a key that nobody knows. */
function signedBy(key: ReturnType<typeof newPair>['privateKey']): Json {
  const statement = Buffer.from(getText(good, PAYLOAD), 'base64');
  return set(SIGNATURE, base64(sign('sha256', statement, key)))(good);
}
