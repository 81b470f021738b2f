import test from 'ava';
import { COSIGN, type Attached } from '../fixtures/cosign.ts';
import { type Json } from './authority.ts';
import { drop, flip, repeat, reword, set, text } from './mutations.ts';
import { codeOf, judgeLayer, layerOf, type Judging } from './signed-by-cosign.ts';

const KINDS = Object.keys(COSIGN);
const SPDX = 'https://spdx.dev/Document';
const ANNOTATION = 'dev.cosignproject.cosign/signature';

type LayerCase = readonly [
  name: string,
  change: Partial<Attached>,
  code: string,
  judging?: Judging,
];

const layer = layerOf('p256');
const payload = JSON.parse(layer.payload) as Json;
const attestation = layerOf('p256', SPDX);
const envelope = JSON.parse(attestation.payload) as Json;
const withAnnotation = (name: string, value: string): Partial<Attached> => ({
  annotations: { ...layer.annotations, [name]: value },
});
const withPayload = (change: (value: Json) => Json): Partial<Attached> => ({
  payload: JSON.stringify(change(payload)),
});
const LAYERS: readonly LayerCase[] = [
  ['the signature of another image', layerOf('p384'), 'subject', { keys: KINDS }],
  [
    'the payload of another image',
    { payload: layerOf('p384').payload },
    'signature',
    { image: 'p384' },
  ],
  [
    'the payload of another repository',
    { payload: layer.payload.replace('/p256', '/other') },
    'signature',
  ],
  ['the signature of another layer', { annotations: layerOf('p384').annotations }, 'signature'],
  ['no signature', { annotations: {} }, 'malformed'],
  ['an empty signature', withAnnotation(ANNOTATION, ''), 'malformed'],
  ['a signature that is no base64', withAnnotation(ANNOTATION, 'signature!'), 'malformed'],
  [
    'a signature with a line break',
    withAnnotation(ANNOTATION, `${layer.annotations[ANNOTATION]!}\n`),
    'malformed',
  ],
  [
    'a payload of another type',
    withPayload(set('critical.type', 'atomic container signature')),
    'payload-type',
  ],
  ['a payload of no type', withPayload(drop('critical.type')), 'payload-type'],
  ['a payload without an image', withPayload(drop('critical.image')), 'malformed'],
  [
    'a payload of no digest',
    withPayload(drop('critical.image.docker-manifest-digest')),
    'malformed',
  ],
  [
    'a payload of a digest without its algorithm',
    withPayload(reword('critical.image.docker-manifest-digest', (digest) => digest.slice(7))),
    'subject',
  ],
  [
    'a payload of a digest by an unknown algorithm',
    withPayload(
      reword('critical.image.docker-manifest-digest', (digest) => digest.replace('sha256', 'md5')),
    ),
    'subject',
  ],
  [
    'a payload of a digest with a space',
    withPayload(reword('critical.image.docker-manifest-digest', (digest) => `${digest} `)),
    'subject',
  ],
  [
    'a payload with its digest twice',
    {
      payload: layer.payload.replace(
        '"docker-manifest-digest":',
        '"docker-manifest-digest":"a","docker-manifest-digest":',
      ),
    },
    'malformed',
  ],
  ['a payload that is a list', { payload: '[]' }, 'malformed'],
  ['a payload of 1 MiB', { payload: layer.payload.padEnd(2 ** 20 + 1) }, 'too-large'],
  [
    'an annotation of 256 KiB',
    withAnnotation('dev.sigstore.cosign/bundle', 'a'.repeat(2 ** 18 + 1)),
    'too-large',
  ],
  [
    'the type of a layer of an image',
    { mediaType: 'application/vnd.oci.image.layer.v1.tar' },
    'media-type',
  ],
  ['the type of an envelope', { mediaType: attestation.mediaType }, 'signatures'],
  ['an attestation', attestation, 'predicate-type'],
  [
    'a certificate where only keys count',
    withAnnotation(
      'dev.sigstore.cosign/certificate',
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
    ),
    'key-asked',
  ],
  [
    'a certificate that is no PEM',
    withAnnotation('dev.sigstore.cosign/certificate', 'AAAA'),
    'malformed',
  ],
  ['an entry that is no JSON', withAnnotation('dev.sigstore.cosign/bundle', 'AAAA'), 'malformed'],
  [
    'an entry without a body',
    withAnnotation('dev.sigstore.cosign/bundle', '{"SignedEntryTimestamp":"AAAA","Payload":{}}'),
    'malformed',
  ],
  [
    'a timestamp that is no base64',
    withAnnotation('dev.sigstore.cosign/rfc3161timestamp', '{"SignedRFC3161Timestamp":"-"}'),
    'malformed',
  ],
  [
    'an attestation of two signatures',
    { ...attestation, payload: JSON.stringify(repeat('signatures', 2)(envelope)) },
    'signatures',
    { kind: 'attestation' },
  ],
  [
    'an attestation with another bit',
    { ...attestation, payload: JSON.stringify(flip('signatures.0.sig')(envelope)) },
    'signature',
    { kind: 'attestation' },
  ],
  [
    'an attestation of another payload',
    {
      ...attestation,
      payload: JSON.stringify(
        text('payload', (value) => value.replace('"app"', '"oth"'))(envelope),
      ),
    },
    'signature',
    { kind: 'attestation' },
  ],
  ['a signature in place of an attestation', {}, 'predicate-type', { kind: 'attestation' }],
];

for (const [name, change, code, judging] of LAYERS) {
  test(`a layer with ${name} is refused: ${code}`, (t) => {
    const judged = judgeLayer({ ...layer, ...change }, 'p256', judging);
    t.is(codeOf(judged), code, JSON.stringify(judged));
  });
}

test('an image that was copied to another repository is the same image', (t) => {
  t.true(layer.payload.includes('"docker-reference":"127.0.0.1:'));
  t.is(codeOf(judgeLayer(layer, 'p256')), 'admitted');
});
