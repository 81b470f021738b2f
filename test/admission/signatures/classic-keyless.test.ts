import test from 'ava';
import { Sigstore } from '../../../src/admission/signatures/sigstore.ts';
import { TrustRoot } from '../../../src/admission/signatures/trust-root.ts';
import type { Refusal, Verified } from '../../../src/admission/verdict.ts';
import { ISSUER, IDENTITY, type Json } from './authority.ts';
import { authority, enterAgain, image, rogue, signed, signers, statement } from './keyless.ts';
import { drop, flip, get, getText, set, text } from './mutations.ts';
import { codeOf } from './signed-by-cosign.ts';

const MATERIAL = 'verificationMaterial';
const NAMES = {
  signature: 'dev.cosignproject.cosign/signature',
  certificate: 'dev.sigstore.cosign/certificate',
  entry: 'dev.sigstore.cosign/bundle',
  timestamp: 'dev.sigstore.cosign/rfc3161timestamp',
};
const payload = Buffer.from(
  JSON.stringify({
    critical: {
      identity: { 'docker-reference': 'ghcr.io/org/app' },
      image: { 'docker-manifest-digest': image.digest },
      type: 'cosign container image signature',
    },
    optional: null,
  }),
);
const predicateType = 'https://spdx.dev/Document';
const stated = statement({ predicateType, predicate: { name: 'app' } });

/** The annotations with which earlier versions of cosign would have kept what is in a bundle. */
function annotate(bundle: Json): Json {
  const entry = get(bundle, `${MATERIAL}.tlogEntries.0`) as Json;
  const stamp = get(bundle, MATERIAL) as Json;
  const isStamped = stamp['timestampVerificationData'] !== undefined;
  const times = `${MATERIAL}.timestampVerificationData.rfc3161Timestamps.0.signedTimestamp`;
  const der = getText(bundle, `${MATERIAL}.certificate.rawBytes`);
  const signature = bundle['messageSignature'] as Json | undefined;
  return {
    [NAMES.signature]: signature?.['signature'] ?? '',
    [NAMES.certificate]: `-----BEGIN CERTIFICATE-----\n${der}\n-----END CERTIFICATE-----\n`,
    [NAMES.entry]: JSON.stringify({
      SignedEntryTimestamp: getText(entry, 'inclusionPromise.signedEntryTimestamp'),
      Payload: {
        body: entry['canonicalizedBody'],
        integratedTime: Number(entry['integratedTime']),
        logIndex: Number(entry['logIndex']),
        logID: Buffer.from(getText(entry, 'logId.keyId'), 'base64').toString('hex'),
      },
    }),
    ...(isStamped && {
      [NAMES.timestamp]: JSON.stringify({ SignedRFC3161Timestamp: get(bundle, times) }),
    }),
  };
}

const plain = annotate(await signed({ payload, isPlain: true }));
const stamped = annotate(await signed({ payload, isPlain: true, isStamped: true }));
const later = annotate(await signed({ payload, isPlain: true, laterMs: 1000 }));
const rogues = await signed({ payload, isPlain: true }, rogue);
const forged = annotate(rogues);
const inOurLog = annotate(await enterAgain(rogues));
const late = annotate(await signed({ payload, isPlain: true, laterMs: 601_000 }));
const enveloped = await signed({ payload: stated });

test('a layer with a certificate and an entry in the log is admitted', (t) => {
  t.like(judge(plain), { signer: signers[0], at: authority.at });
  t.like(judge(stamped), { signer: signers[0], at: authority.at });
});

test('an attestation with a certificate tells what it states', async (t) => {
  for (const log of ['dsse 0.0.1', 'intoto 0.0.2'] as const) {
    const judged = judgeAttestation(await signed({ payload: stated, log }));
    t.like(judged, {
      signer: signers[0],
      statement: { predicateType, predicate: { name: 'app' } },
    });
  }
});

const CASES: readonly (readonly [name: string, annotations: Json, code: string])[] = [
  ['an authority that calls itself the same', forged, 'log-entry'],
  ['an authority that calls itself the same, in a log that we trust', inOurLog, 'certificate'],
  ['a certificate that had ended', late, 'certificate'],
  ['no entry in the log', without(plain, NAMES.entry), 'timestamp'],
  ['a timestamp, but no entry in the log', without(stamped, NAMES.entry), 'log-entry'],
  ['the entry of another signature', { ...plain, [NAMES.entry]: later[NAMES.entry] }, 'log-tie'],
  ['the entry of another log', { ...plain, [NAMES.entry]: forged[NAMES.entry] }, 'log-entry'],
  [
    'the certificate of another signature',
    { ...plain, [NAMES.certificate]: later[NAMES.certificate] },
    'signature',
  ],
  [
    'the signature of another certificate',
    { ...plain, [NAMES.signature]: later[NAMES.signature] },
    'log-tie',
  ],
  ['no certificate', without(plain, NAMES.certificate), 'identity-asked'],
  [
    'the timestamp of another signature',
    { ...later, [NAMES.timestamp]: stamped[NAMES.timestamp] },
    'timestamp',
  ],
  [
    'two certificates',
    {
      ...plain,
      [NAMES.certificate]: `${plain[NAMES.certificate] as string}${later[NAMES.certificate] as string}`,
    },
    'malformed',
  ],
  ['an entry of another time', inEntry('integratedTime', authority.at / 1000 + 1), 'log-entry'],
  ['an entry of another place', inEntry('logIndex', 1), 'log-entry'],
  ['an entry without a time', inEntry('integratedTime', undefined), 'certificate'],
  ['an entry of a log without a name', inEntry('logID', ''), 'log-entry'],
  ['an entry that is a list', { ...plain, [NAMES.entry]: '[]' }, 'malformed'],
  [
    'a chain of its own, of an authority that calls itself the same',
    { ...inOurLog, 'dev.sigstore.cosign/chain': inOurLog[NAMES.certificate] },
    'certificate',
  ],
];

for (const [name, annotations, code] of CASES) {
  test(`a layer with ${name} is refused: ${code}`, (t) => {
    const judged = judge(annotations);
    t.is(codeOf(judged), code, JSON.stringify(judged));
  });
}

test('a layer of another identity or issuer is refused', (t) => {
  const other = { kind: 'keyless', identity: `${IDENTITY}a`, issuer: ISSUER } as const;
  t.is(codeOf(judge(plain, [other])), 'identity');
  t.is(codeOf(judge(plain, [{ ...other, identity: IDENTITY, issuer: 'a' }])), 'issuer');
});

test('an attestation that was changed is refused', (t) => {
  const changed = text('dsseEnvelope.payload', (value) => value.replace('"app"', '"oth"'));
  t.is(codeOf(judgeAttestation(changed(enveloped))), 'log-tie');
  t.is(codeOf(judgeAttestation(flip('dsseEnvelope.signatures.0.sig')(enveloped))), 'log-tie');
});

function judge(annotations: Json, by = signers): Verified | Refusal {
  const mediaType = 'application/vnd.dev.cosign.simplesigning.v1+json';
  const layer = { mediaType, payload, annotations: annotations as Record<string, string> };
  return sigstore().verifyClassic(layer, { image, kind: 'signature', signers: by });
}

function judgeAttestation(bundle: Json): Verified | Refusal {
  const layer = {
    mediaType: 'application/vnd.dsse.envelope.v1+json',
    payload: Buffer.from(JSON.stringify(bundle['dsseEnvelope'])),
    annotations: annotate(bundle) as Record<string, string>,
  };
  return sigstore().verifyClassic(layer, { image, kind: 'attestation', signers });
}

function sigstore(): Sigstore {
  const root = TrustRoot.parse(Buffer.from(JSON.stringify(authority.root)));
  return new Sigstore({ root, keys: new Map() });
}

function without(annotations: Json, name: string): Json {
  const { [name]: _, ...rest } = annotations;
  return rest;
}

function inEntry(name: string, value: Json[string]): Json {
  const entry = JSON.parse(plain[NAMES.entry] as string) as Json;
  const change = value === undefined ? drop(`Payload.${name}`) : set(`Payload.${name}`, value);
  return { ...plain, [NAMES.entry]: JSON.stringify(change(entry)) };
}
