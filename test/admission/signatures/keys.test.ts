import { generateKeyPairSync } from 'node:crypto';
import test from 'ava';
import { parsePublicKey } from '../../../src/admission/signatures/signing-key.ts';
import { COSIGN } from '../fixtures/cosign.ts';
import { Authority, base64, newPair, sha256, type Json } from './authority.ts';
import { flip, get, getText, set } from './mutations.ts';
import {
  bundleOf,
  codeOf,
  fixture,
  judgeBundle,
  judgeLayer,
  layerOf,
  statementOf,
} from './signed-by-cosign.ts';

const KINDS = Object.keys(COSIGN);
const SPDX = 'https://spdx.dev/Document';
const PREDICATES = [
  SPDX,
  'https://cyclonedx.org/bom',
  'https://openvex.dev/ns',
  'https://cosign.sigstore.dev/attestation/vuln/v1',
];
const SIGNATURE = 'dsseEnvelope.signatures.0.sig';
const PAYLOAD = 'dsseEnvelope.payload';
const good = bundleOf('p256');

for (const name of KINDS) {
  test(`cosign signed with a key of ${name}: the bundle is admitted, and no other bundle`, (t) => {
    const bundle = bundleOf(name);
    const judged = judgeBundle(bundle, name, { keys: KINDS });
    t.like(judged, { signer: { kind: 'key', key: name } });
    t.false('at' in judged || 'statement' in judged);
    t.is(codeOf(judgeBundle(flip(SIGNATURE)(bundle), name)), 'signature');
    t.is(
      codeOf(judgeBundle(bundle, name, { keys: KINDS.filter((key) => key !== name) })),
      'signature',
    );
  });

  test(`cosign signed with a key of ${name}: the layer is admitted, and no other layer`, (t) => {
    const layer = layerOf(name);
    t.like(judgeLayer(layer, name, { keys: KINDS }), { signer: { kind: 'key', key: name } });
    t.is(codeOf(judgeLayer({ ...layer, payload: `${layer.payload} ` }, name)), 'signature');
    t.is(
      codeOf(judgeLayer(layer, name, { keys: KINDS.filter((key) => key !== name) })),
      'signature',
    );
  });
}

for (const predicateType of PREDICATES) {
  test(`an attestation of ${predicateType} tells what it states, as a bundle and as a layer`, (t) => {
    const attestation = { kind: 'attestation' } as const;
    const bundle = bundleOf('p256', predicateType);
    const { predicate } = statementOf(bundle);
    const asBundle = judgeBundle(bundle, 'p256', attestation);
    t.like(asBundle, {
      signer: { kind: 'key', key: 'p256' },
      statement: { predicateType, predicate },
    });
    const asLayer = judgeLayer(layerOf('p256', predicateType), 'p256', attestation);
    t.is('statement' in asLayer ? asLayer.statement?.predicateType : asLayer, predicateType);
  });

  test(`an attestation of ${predicateType} is no signature, and of no other image`, (t) => {
    const bundle = bundleOf('p256', predicateType);
    t.is(codeOf(judgeBundle(bundle, 'p256')), 'predicate-type');
    t.is(codeOf(judgeLayer(layerOf('p256', predicateType), 'p256')), 'predicate-type');
    const other = { kind: 'attestation', image: 'p384' } as const;
    t.is(codeOf(judgeBundle(bundle, 'p256', other)), 'subject');
    t.is(codeOf(judgeLayer(layerOf('p256', predicateType), 'p256', other)), 'subject');
  });
}

test('a key in a log: the entry tells the time where the trust root knows the log, and must be of this signature', async (t) => {
  const authority = await Authority.create();
  const other = await Authority.create();
  const signature = getText(good, SIGNATURE);
  const entry = await authority.enter(bodyOf(good, 'p256'));
  const witnessed = set('verificationMaterial.tlogEntries', [entry])(good);
  const stamped = set('verificationMaterial.timestampVerificationData', {
    rfc3161Timestamps: [
      { signedTimestamp: await authority.stamp(Buffer.from(signature, 'base64')) },
    ],
  })(good);
  const { root } = authority;
  t.like(judgeBundle(witnessed, 'p256', { root }), { at: authority.at });
  t.like(judgeBundle(stamped, 'p256', { root }), { at: authority.at });
  // Who knows neither the log nor the clock learns nothing of the time, and trusts the key as ever.
  const unknown = [
    judgeBundle(witnessed, 'p256'),
    judgeBundle(stamped, 'p256'),
    judgeBundle(witnessed, 'p256', { root: other.root }),
    judgeBundle(stamped, 'p256', { root: set('timestampAuthorities', [])(root) }),
  ];
  for (const judged of unknown) {
    t.is(codeOf(judged), 'admitted');
    t.false('at' in judged);
  }
  const foreign: Record<string, Json> = {
    'log-entry': set('verificationMaterial.tlogEntries.0.integratedTime', '1')(witnessed),
    timestamp: flip(
      'verificationMaterial.timestampVerificationData.rfc3161Timestamps.0.signedTimestamp',
    )(stamped),
  };
  for (const [code, bundle] of Object.entries(foreign)) {
    t.is(codeOf(judgeBundle(bundle, 'p256', { root })), code);
  }
  const ofOtherKey = await authority.enter(bodyOf(good, 'p384'));
  t.is(
    codeOf(
      judgeBundle(set('verificationMaterial.tlogEntries', [ofOtherKey])(good), 'p256', { root }),
    ),
    'log-tie',
  );
  const ofOther = await authority.enter(bodyOf(bundleOf('p256', SPDX), 'p256'));
  t.is(
    codeOf(judgeBundle(set('verificationMaterial.tlogEntries', [ofOther])(good), 'p256', { root })),
    'log-tie',
  );
});

const pem = (key: ReturnType<typeof newPair>['publicKey']): string =>
  key.export({ format: 'pem', type: 'spki' });
const WEAK: readonly (readonly [name: string, pem: string])[] = [
  ['an RSA key of 1024 bits', pem(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey)],
  [
    'a key on the curve of Bitcoin',
    pem(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey),
  ],
  ['a key of P-224', pem(generateKeyPairSync('ec', { namedCurve: 'P-224' }).publicKey)],
  ['a key of Ed448', pem(generateKeyPairSync('ed448').publicKey)],
  ['a key for agreements', pem(generateKeyPairSync('x25519').publicKey)],
  [
    'a key of RSA for its other signatures',
    pem(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey),
  ],
  ['a private key', newPair().privateKey.export({ format: 'pem', type: 'pkcs8' })],
  ['two keys', `${fixture('p256').publicKey}${fixture('p384').publicKey}`],
  ['a key with a text before it', `key ${fixture('p256').publicKey}`],
  ['a key that is cut short', fixture('p256').publicKey.replace(/.{20}\n-----END/, '\n-----END')],
  ['a certificate', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'],
  ['nothing', ''],
];

for (const [name, text] of WEAK) {
  test(`${name} is no public key that counts`, (t) => {
    t.throws(() => parsePublicKey(text), { instanceOf: TypeError, message: /key/ });
  });
}

/** What a log says of a signature with this key. */
function bodyOf(bundle: Json, key: string): Json {
  const statement = Buffer.from(getText(bundle, PAYLOAD), 'base64');
  return {
    kind: 'dsse',
    apiVersion: '0.0.1',
    spec: {
      payloadHash: { algorithm: 'sha256', value: sha256(statement).toString('hex') },
      signatures: [
        {
          signature: get(bundle, SIGNATURE),
          verifier: base64(Buffer.from(fixture(key).publicKey)),
        },
      ],
    },
  };
}
