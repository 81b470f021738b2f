import test from 'ava';
import { hash } from 'node:crypto';
import { DAY, issue, PREFIX, rootOf, seal, targetOf, type Forgery, type Party } from './forger.ts';
import {
  codeOf,
  envelopeOf,
  FORMS,
  judge,
  LATER,
  MADE_AT,
  MANIFEST,
  type Form,
  type Judging,
} from './signed-by-notation.ts';

const root = await issue({ subject: 'CN=Root', isCa: true });
const middle = await issue({ subject: 'CN=Middle', isCa: true, issuer: root });
const signer = await issue({ issuer: middle });
const stranger = await issue({ issuer: await issue({ subject: 'CN=Other', isCa: true }) });
const SCHEME = `${PREFIX}signingScheme`;
const EXPIRY = `${PREFIX}expiry`;
const TIME = `${PREFIX}authenticSigningTime`;
const FORGER = 'x509.subject: C=US, ST=WA, O=Forgery';

const authority = { signingScheme: 'notary.x509.signingAuthority', signingTime: undefined };
const at = new Date(MADE_AT);
/** Each is signed by the key of its certificate. */
const SEALED: readonly (readonly [string, Forgery, string, Judging?])[] = [
  ['a usual one', {}, 'admitted'],
  ['a usual one of another image', {}, 'subject', { manifest: Buffer.from('{}') }],
  // Critical attributes
  ['nothing critical', { critical: undefined }, 'critical'],
  ['an empty list', { critical: [] }, 'critical'],
  ['a text in place of a list', { critical: SCHEME }, 'critical'],
  ['the scheme not critical', { critical: ['alg'] }, 'critical'],
  ['something unknown critical', { critical: [SCHEME, 'a'], attributes: { a: 1 } }, 'critical'],
  ['something unknown critical, and absent', { critical: [SCHEME, `${PREFIX}x`] }, 'critical'],
  ['something critical that is absent', { critical: [SCHEME, EXPIRY] }, 'critical'],
  ['something critical twice', { critical: [SCHEME, SCHEME] }, 'critical'],
  ['a list within the list', { critical: [[SCHEME]] }, 'critical'],
  [
    'an end that is not critical',
    { critical: [SCHEME], attributes: { expiry: new Date(MADE_AT + DAY) } },
    'critical',
  ],
  [
    'the time of an authority that is not critical',
    { critical: [SCHEME], attributes: { ...authority, authenticSigningTime: at } },
    'critical',
  ],
  ['something unknown', { attributes: { somethingOfLater: 'x' } }, 'admitted'],
  ['a plug-in', { attributes: { verificationPlugin: 'x' } }, 'critical'],
  ['a version of a plug-in', { attributes: { verificationPluginMinVersion: '1.0.0' } }, 'critical'],
  // Schemes and times
  ['no scheme', { attributes: { signingScheme: undefined }, critical: [SCHEME] }, 'scheme'],
  ['an unknown scheme', { attributes: { signingScheme: 'notary.x509.v2' } }, 'scheme'],
  ['a scheme that objects have', { attributes: { signingScheme: 'toString' } }, 'scheme'],
  ['no time', { attributes: { signingTime: undefined } }, 'malformed'],
  ['a time that is none', { attributes: { signingTime: 'yesterday' } }, 'malformed'],
  ['a time that is a number', { attributes: { signingTime: MADE_AT / 1000 } }, 'malformed'],
  [
    'the time of an authority beside that of a signer',
    { attributes: { authenticSigningTime: at } },
    'malformed',
  ],
  [
    'the time of a signer beside that of an authority',
    { attributes: { ...authority, authenticSigningTime: at, signingTime: at } },
    'malformed',
  ],
  ['an authority without a time', { attributes: authority, critical: [SCHEME, TIME] }, 'critical'],
  [
    'an authority that no store of the type signingAuthority has',
    { attributes: { ...authority, authenticSigningTime: at } },
    'store',
  ],
  ['an end that is no time', { attributes: { expiry: 'never' } }, 'malformed'],
  [
    'an end before the beginning',
    { attributes: { expiry: new Date(MADE_AT - 1000) } },
    'malformed',
  ],
  ['an end at the beginning', { attributes: { expiry: at } }, 'malformed'],
  [
    'an end that has come',
    { attributes: { expiry: new Date(MADE_AT + DAY) } },
    'expired',
    { now: MADE_AT + DAY },
  ],
  [
    'an end that is to come',
    { attributes: { expiry: new Date(MADE_AT + DAY) } },
    'admitted',
    { now: MADE_AT + DAY - 1 },
  ],
  // What is signed
  ['another type of payload', { type: 'application/vnd.in-toto+json' }, 'payload-type'],
  ['no JSON', { payload: Buffer.from('x') }, 'malformed'],
  ['a description twice', { payload: doubled() }, 'malformed'],
  ['a list', { payload: Buffer.from('[]') }, 'malformed'],
  ['nothing of an image', { payload: Buffer.from('{}') }, 'malformed'],
  ['no text as the digest', { target: { ...targetOf(), digest: 1 } }, 'malformed'],
  ['another digest', { target: { ...targetOf(), digest: digestOf('x') } }, 'subject'],
  ['a digest in capitals', { target: { ...targetOf(), digest: capitals() } }, 'subject'],
  [
    'a digest by SHA-1',
    { target: { ...targetOf(), digest: digestOf(MANIFEST, 'sha1') } },
    'subject',
  ],
  [
    'a digest by SHA-512',
    { target: { ...targetOf(), digest: digestOf(MANIFEST, 'sha512') } },
    'admitted',
  ],
  ['another size', { target: { ...targetOf(), size: MANIFEST.length - 1 } }, 'subject'],
  ['a size as a text', { target: { ...targetOf(), size: String(MANIFEST.length) } }, 'subject'],
  ['no size', { target: { ...targetOf(), size: undefined } }, 'subject'],
  [
    'another type',
    { target: { ...targetOf(), mediaType: 'application/vnd.oci.image.index.v1+json' } },
    'subject',
  ],
  ['no type', { target: { ...targetOf(), mediaType: undefined } }, 'subject'],
  // Algorithms
  ['another algorithm', { algorithm: 'PS256' }, 'algorithm'],
  ['another algorithm by its number', { algorithm: -37 }, 'algorithm'],
  ['no algorithm by name', { algorithm: 'none' }, 'algorithm'],
  // Chains
  ['no certificate', { chain: [] }, 'chain'],
  ['eleven certificates', { chain: Array(11).fill(root.chain[0]) as Buffer[] }, 'chain'],
  ['a certificate that is none', { chain: [Buffer.from('x')] }, 'malformed'],
  ['a certificate of 17 KiB', { chain: [Buffer.alloc(17_000)] }, 'malformed'],
  ['a certificate with more behind it', { chain: padded(signer) }, 'malformed'],
  ['the certificates of somebody else', { chain: stranger.chain }, 'signature'],
  [
    'the certificate of somebody else',
    { chain: [stranger.chain[0]!, ...middle.chain] },
    'signature',
  ],
  ['the chain upside down', { chain: signer.chain.toReversed() }, 'signature'],
  ['those above upside down', { chain: [signer.chain[0]!, ...middle.chain.toReversed()] }, 'chain'],
  ['no root', { chain: signer.chain.slice(0, 2) }, 'chain'],
  ['the certificate alone', { chain: signer.chain.slice(0, 1) }, 'chain'],
  ['nothing between', { chain: [signer.chain[0]!, ...root.chain] }, 'chain'],
  ['the root twice', { chain: [...signer.chain, ...root.chain] }, 'chain'],
  [
    'the root of others',
    { chain: [...signer.chain.slice(0, 2), ...stranger.chain.slice(1)] },
    'chain',
  ],
  ['a certificate of others besides', { chain: [...signer.chain, ...stranger.chain] }, 'chain'],
  // Stores and names
  ['a store of others', {}, 'store', { stores: { ca: [rootOf(stranger)] } }],
  ['a store of another type', {}, 'store', { stores: { signingAuthority: [rootOf(root)] } }],
  ['a store of clocks', {}, 'store', { stores: { tsa: [rootOf(root)] } }],
  ['no store', {}, 'store', { stores: {} }],
  ['what stands between in a store', {}, 'admitted', { stores: { ca: [certificate(middle)] } }],
  ['the certificate itself in a store', {}, 'admitted', { stores: { ca: [certificate(signer)] } }],
  ['another name', {}, 'identity', { identities: [`${FORGER}, CN=another`] }],
  [
    'the name in small letters',
    {},
    'identity',
    { identities: ['x509.subject: C=US, ST=WA, O=forgery'] },
  ],
  ['more than the name', {}, 'identity', { identities: [`${FORGER}, CN=signer, L=Seattle`] }],
  ['the beginning of the name', {}, 'identity', { identities: [`${FORGER}, CN=sign`] }],
  [
    'a name of several',
    {},
    'admitted',
    { identities: [`${FORGER}, CN=x`, `${FORGER}, CN=signer`] },
  ],
  ['nobody', {}, 'identity', { signers: [] }],
  ['only those who sign with keys', {}, 'identity', { signers: [{ kind: 'key', key: 'a' }] }],
  // Times of certificates
  ['a certificate that has ended', {}, 'validity', { now: MADE_AT + 1001 * DAY }],
  ['a certificate that has not begun', {}, 'validity', { now: MADE_AT - 2 * DAY }],
  ['a type of envelope that is none', {}, 'media-type', { mediaType: 'application/json' }],
];

for (const form of Object.keys(FORMS) as Form[]) {
  for (const [name, forgery, code, judging] of SEALED) {
    test(`${name} is ${code}: ${form}`, (t) => {
      const stores = { ca: [rootOf(root)] };
      const judged = judge(seal(form, signer, forgery), form, {
        identities: [FORGER],
        stores,
        ...judging,
      });
      t.is(codeOf(judged), code, JSON.stringify(judged));
    });
  }

  for (const name of ['otherDigest', 'otherSize', 'otherType']) {
    test(`what Notation signed of another image is subject: ${name}, ${form}`, (t) => {
      t.is(codeOf(judge(envelopeOf(name, form), form)), 'subject');
    });
  }

  test(`what Notation signed for a plug-in is critical: ${form}`, (t) => {
    t.is(codeOf(judge(envelopeOf('plugin', form), form)), 'critical');
  });

  test(`an authority whose certificate was not valid at its time is validity: ${form}`, (t) => {
    for (const off of [-2 * DAY, 1001 * DAY]) {
      const time = new Date(MADE_AT + off);
      const attributes = { ...authority, authenticSigningTime: time };
      const stores = { signingAuthority: [rootOf(root)] };
      const judging = { stores, identities: [FORGER], now: LATER };
      t.is(codeOf(judge(seal(form, signer, { attributes }), form, judging)), 'validity');
    }
  });

  test(`the type of a manifest is the one that it says, or that its form is of: ${form}`, (t) => {
    const oci = 'application/vnd.oci.image';
    const docker = 'application/vnd.docker.distribution.manifest';
    const types = {
      [`${oci}.manifest.v1+json`]: { config: {}, layers: [] },
      [`${oci}.index.v1+json`]: { manifests: [] },
      [`${docker}.v2+json`]: { mediaType: `${docker}.v2+json`, config: {}, layers: [] },
      [`${docker}.list.v2+json`]: { mediaType: `${docker}.list.v2+json`, manifests: [] },
    };
    for (const [mediaType, document] of Object.entries(types)) {
      const digest = 'a'.repeat(64);
      const config = { mediaType: 'x', digest: `sha256:${digest}`, size: 1 };
      const whole = 'config' in document ? { ...document, config } : document;
      const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, ...whole }));
      const judging = { identities: [FORGER], stores: { ca: [rootOf(root)] }, manifest };
      const codes = Object.keys(types).map((signed) => {
        const target = { ...targetOf(manifest), mediaType: signed };
        return codeOf(judge(seal(form, signer, { target }), form, judging));
      });
      const expected = Object.keys(types).map((type) =>
        type === mediaType ? 'admitted' : 'subject',
      );
      t.deepEqual(codes, expected, mediaType);
    }
  });

  test(`at the level audit it counts whoever made it and whenever, with a doubt: ${form}`, (t) => {
    const doubts = {
      store: { stores: {} },
      identity: { identities: [`${FORGER}, CN=x`] },
      validity: { now: MADE_AT + 1001 * DAY },
    };
    for (const [code, judging] of Object.entries(doubts)) {
      const usual = {
        identities: [FORGER],
        stores: { ca: [rootOf(root)] },
        level: 'audit',
      } as const;
      const judged = judge(seal(form, signer), form, { ...usual, ...judging });
      t.like(judged, { signer: { kind: 'notation', level: 'audit' }, doubt: { code } });
    }
    const strict = judge(seal(form, signer), form, {
      identities: [FORGER],
      stores: { ca: [rootOf(root)] },
      level: 'audit',
    });
    t.like(strict, { signer: { level: 'strict' }, doubt: undefined });
  });

  test(`at the level audit it has to be whole and of this image: ${form}`, (t) => {
    const level = 'audit';
    const codes = [
      judge(seal(form, signer, { chain: stranger.chain }), form, { level }),
      judge(seal(form, signer), form, { level, manifest: Buffer.from('{}') }),
      judge(seal(form, signer, { critical: undefined }), form, { level }),
      judge(seal(form, signer, { chain: signer.chain.slice(0, 2) }), form, { level }),
    ].map(codeOf);
    t.deepEqual(codes, ['signature', 'subject', 'critical', 'chain']);
  });

  test(`no bit of what is signed may be another one: ${form}`, (t) => {
    const envelope = seal(form, signer);
    const judging = { identities: [FORGER], stores: { ca: [rootOf(root)] } };
    t.is(codeOf(judge(envelope, form, judging)), 'admitted');
    for (let place = 0; place < envelope.length; place += 5) {
      const copy = Buffer.from(envelope);
      copy[place] = copy[place]! ^ 1;
      t.not(codeOf(judge(copy, form, judging)), 'admitted', String(place));
    }
  });
}

function digestOf(bytes: Buffer | string, algorithm = 'sha256'): string {
  return `${algorithm}:${hash(algorithm, bytes, 'hex')}`;
}

function capitals(): string {
  return `sha256:${hash('sha256', MANIFEST, 'hex').toUpperCase()}`;
}

function doubled(): Buffer {
  const target = JSON.stringify(targetOf());
  return Buffer.from(`{"targetArtifact":{},"targetArtifact":${target}}`);
}

function padded({ chain: [own, ...above] }: Party): Buffer[] {
  return [Buffer.concat([own!, Buffer.from([0])]), ...above];
}

function certificate({ chain }: Party) {
  return rootOf({ ...root, chain: chain.slice(0, 1) });
}
