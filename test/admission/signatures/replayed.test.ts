import { base64, newPair, type Json } from './authority.ts';
import { add, get, repeat, set, take } from './mutations.ts';
import {
  CERTIFICATE,
  ENTRIES,
  ENTRY,
  MESSAGE_DIGEST,
  PAYLOAD,
  type Refused,
  SIGNATURE,
  STAMP,
  TIMES,
  bodyOf,
  editBody,
  enterAgain,
  first,
  other,
  plain,
  proven,
  provenToo,
  second,
  setInBody,
  signed,
  statement,
  testRefused,
  theirs,
} from './keyless.ts';

const REPLAYED: readonly Refused[] = [
  ['the signature of another image', await signed({ payload: statement({}, other) }), 'subject'],
  [
    'the plain signature of another manifest',
    await signed({ payload: other, isPlain: true }),
    'subject',
  ],
  [
    'the plain signature of another manifest by the digest of this one',
    set(
      MESSAGE_DIGEST,
      get(plain, MESSAGE_DIGEST),
    )(await signed({ payload: other, isPlain: true })),
    'log-tie',
  ],
  [
    'a statement of another image under the signature of this one',
    set(PAYLOAD, base64(statement({}, other)))(first),
    'subject',
  ],
  [
    'a statement of this image under the signature of another one',
    set(PAYLOAD, base64(statement()))(await signed({ payload: statement({}, other) })),
    'log-tie',
  ],
  [
    'a statement of this image with all else of another one',
    set(
      PAYLOAD,
      base64(statement()),
    )(await signed({ payload: statement({}, other), log: 'hashedrekord 0.0.2' })),
    'log-tie',
  ],
  ['the entry of another signature', take(ENTRY, second)(first), 'log-tie'],
  ['the proof of another signature', take(ENTRY, provenToo)(proven), 'log-tie'],
  ['the timestamp of another signature', take(STAMP, provenToo)(proven), 'timestamp'],
  ['the certificate of another signature', take(CERTIFICATE, second)(first), 'signature'],
  ['the signature of another statement', take(SIGNATURE, second)(first), 'log-tie'],
  [
    'the entry of the same signature by another certificate',
    await enterAgain(inBody('spec.signatures.0.verifier', first, bodyOf(second))),
    'log-tie',
  ],
  [
    'the entry of the same signature by a key',
    await enterAgain(setInBody('spec.signatures.0.verifier', pemOfKey(), first)),
    'log-tie',
  ],
  [
    'the entry of the same hash by another certificate',
    await enterAgain(
      inBody('spec.hashedRekordV002.signature.verifier', proven, bodyOf(provenToo)),
      false,
    ),
    'log-tie',
  ],
  [
    'an entry of a kind that is unknown',
    await enterAgain(setInBody('kind', 'rekord', first)),
    'log-tie',
  ],
  [
    'an entry of a version that is unknown',
    await enterAgain(setInBody('apiVersion', '0.0.9', first)),
    'log-tie',
  ],
  [
    'an entry that calls itself another kind',
    set(`${ENTRY}.kindVersion.kind`, 'intoto')(first),
    'log-tie',
  ],
  [
    'an entry of two signatures',
    await enterAgain(editBody(repeat('spec.signatures', 2), first)),
    'log-tie',
  ],
  [
    'an entry of another hash',
    await enterAgain(setInBody('spec.payloadHash.value', theirs, first)),
    'log-tie',
  ],
  ['the same entry twice', repeat(ENTRIES, 2)(proven), 'log-entry'],
  ['the same time twice', repeat(ENTRIES, 2)(first), 'timestamp'],
  ['a good entry and a wrong one', add(ENTRIES, get(second, ENTRY))(first), 'log-tie'],
  [
    'a good timestamp and a wrong one',
    add(`${TIMES}.rfc3161Timestamps`, { signedTimestamp: get(provenToo, STAMP) })(proven),
    'timestamp',
  ],
];

testRefused(REPLAYED);

/** What the entry says there is what the entry of another signature says. */
function inBody(path: string, bundle: Json, from: Json): Json {
  return setInBody(path, get(from, path), bundle);
}

function pemOfKey(): string {
  const pem = newPair().publicKey.export({ format: 'pem', type: 'spki' });
  return base64(Buffer.from(pem));
}
