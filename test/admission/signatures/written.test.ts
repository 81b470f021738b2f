import { base64, type Json, type JsonValue } from './authority.ts';
import { chain, get, repeat, reword, set, take, text } from './mutations.ts';
import {
  CERTIFICATE,
  CHECKPOINT,
  ENTRIES,
  ENTRY,
  PAYLOAD,
  type Refused,
  SIGNATURE,
  STAMP,
  TIMES,
  first,
  plain,
  proven,
  signed,
  statement,
  testRefused,
  theirs,
  version,
  withChain,
} from './keyless.ts';

const UNUSUAL: readonly Refused[] = [
  ['two signatures', repeat('dsseEnvelope.signatures', 2)(first), 'signatures'],
  ['a plain signature besides the envelope', take('messageSignature', plain)(first), 'malformed'],
  [
    'a key besides the certificate',
    set('verificationMaterial.publicKey', { hint: '' })(first),
    'malformed',
  ],
  ['a field that is unknown', set('verificationMaterial.extra', 'a')(first), 'malformed'],
  [
    'base64 without its padding',
    reword(SIGNATURE, (value) => value.replace(/=*$/, '='.repeat(3)))(first),
    'malformed',
  ],
  ['base64 with a line break', reword(SIGNATURE, (value) => `${value}\n`)(first), 'malformed'],
  [
    'base64 with a line break within',
    reword(PAYLOAD, (value) => value.replace(/^.{8}/, '$&\n'))(first),
    'malformed',
  ],
  ['base64 in the alphabet of addresses', urlSafe(first), 'malformed'],
  [
    'base64 with something after its end',
    reword(PAYLOAD, (value) => `${value}====AAAA`)(first),
    'malformed',
  ],
  ['base64 with bits that nobody reads', looseBits(first), 'malformed'],
  [
    'a digest of an unknown algorithm',
    set('messageSignature.messageDigest.algorithm', 'SHA1')(plain),
    'malformed',
  ],
  [
    'a digest of an algorithm by its number',
    set('messageSignature.messageDigest.algorithm', 1)(plain),
    'malformed',
  ],
  [
    'a digest of SHA-512 that is none',
    set('messageSignature.messageDigest.digest', base64(Buffer.alloc(64)))(plain),
    'subject',
  ],
  [
    'a digest by another algorithm than it has',
    set('messageSignature.messageDigest.algorithm', 'SHA2_512')(plain),
    'subject',
  ],
  ['a time that is no number', set(`${ENTRY}.integratedTime`, 'noon')(first), 'certificate'],
  [
    'a time with a fraction',
    reword(`${ENTRY}.integratedTime`, (time) => `${time}.5`)(first),
    'log-entry',
  ],
  [
    'a list in place of an object',
    set('verificationMaterial', [get(first, 'verificationMaterial')])(first),
    'malformed',
  ],
  ['nothing in place of an object', set('verificationMaterial', null)(first), 'malformed'],
  ['a number in place of a text', set(PAYLOAD, 12)(first), 'malformed'],
  [
    '11 certificates',
    chain(
      withChain,
      version('0.2'),
      repeat('verificationMaterial.x509CertificateChain.certificates', 11),
    )(first),
    'malformed',
  ],
  ['9 entries', repeat(ENTRIES, 9)(first), 'malformed'],
  ['9 timestamps', repeat(`${TIMES}.rfc3161Timestamps`, 9)(proven), 'malformed'],
  [
    '65 hashes in a proof',
    set(
      `${ENTRY}.inclusionProof.hashes`,
      Array.from({ length: 65 }, () => base64(Buffer.alloc(32))),
    )(first),
    'malformed',
  ],
  [
    'a certificate of more than 16 KiB',
    set(CERTIFICATE, base64(withLongName(2 ** 14)))(first),
    'malformed',
  ],
  [
    'a certificate with a name of 16 KiB',
    set(CERTIFICATE, base64(withLongName(2 ** 14 - 50)))(first),
    'certificate',
  ],
  ['a certificate of 4,000 levels', set(CERTIFICATE, base64(levels(4000)))(first), 'unverified'],
  [
    'a timestamp of more than 16 KiB',
    set(STAMP, base64(Buffer.alloc(2 ** 14 + 1)))(proven),
    'malformed',
  ],
  ['a timestamp of 4,000 levels', set(STAMP, base64(levels(4000)))(proven), 'unverified'],
  [
    'a place of 21 digits',
    set(`${ENTRY}.inclusionProof.logIndex`, '9'.repeat(21))(first),
    'malformed',
  ],
  ['a note of more than 16 KiB', set(CHECKPOINT, 'a'.repeat(2 ** 14 + 1))(first), 'malformed'],
  ['a name twice', JSON.stringify(first).replace('{', '{"mediaType":"a",'), 'malformed'],
  [
    'a name twice in another spelling',
    JSON.stringify(first).replace('{', String.raw`{"media\u0054ype":"a",`),
    'malformed',
  ],
  ['the envelope twice', JSON.stringify(first).replace('{', '{"dsseEnvelope":{},'), 'malformed'],
  [
    'a subject twice in the statement',
    await signed({ payload: Buffer.from(statement().toString().replace('{', '{"subject":[],')) }),
    'malformed',
  ],
  [
    'a digest twice in the statement',
    await signed({
      payload: Buffer.from(
        statement().toString().replace('"sha256":', `"sha256":"${theirs}","sha256":`),
      ),
    }),
    'malformed',
  ],
  [
    'a statement with a mark of its encoding',
    await signed({ payload: Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), statement()]) }),
    'malformed',
  ],
  [
    'a statement in another encoding',
    await signed({ payload: Buffer.from(statement().toString(), 'utf16le') }),
    'malformed',
  ],
  [
    'a statement that is a list',
    await signed({ payload: Buffer.from(`[${statement().toString()}]`) }),
    'malformed',
  ],
  [
    'two statements',
    await signed({ payload: Buffer.concat([statement(), statement()]) }),
    'malformed',
  ],
  ['a statement that is a number', await signed({ payload: Buffer.from('1') }), 'malformed'],
  [
    'a statement of 65 levels',
    await signed({ payload: statement({ predicate: nested(64) }) }),
    'malformed',
  ],
  ['a bundle of 100,000 levels', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, 'malformed'],
  [
    'a bundle of more than 1 MiB',
    set('dsseEnvelope.extra', 'a'.repeat(2 ** 20))(first),
    'too-large',
  ],
  ['a bundle with something after its end', `${JSON.stringify(first)}{}`, 'malformed'],
  ['a bundle that is cut short', JSON.stringify(first).slice(0, -1), 'malformed'],
  ['a bundle of nothing', '', 'malformed'],
  ['a bundle that is a text', '"bundle"', 'malformed'],
  ['a bundle that is nothing', 'null', 'malformed'],
];

testRefused(UNUSUAL);

function urlSafe(bundle: Json): Json {
  return chain(
    text(PAYLOAD, (value) => value.replace('{', '{"a":"???>>>",')),
    reword(PAYLOAD, (value) => value.replaceAll('+', '-').replaceAll('/', '_')),
  )(bundle);
}

/** The last letter before the padding says more than there are bytes for. */
function looseBits(bundle: Json): Json {
  const padded = text(PAYLOAD, (value) => value.padEnd(Math.ceil(value.length / 3) * 3 + 1));
  return reword(PAYLOAD, (value) => value.replace(/.==$/, 'B=='))(padded(bundle));
}

function nested(levels: number): JsonValue {
  return levels === 0 ? 1 : [nested(levels - 1)];
}

/** A certificate whose extension has a name of so many bytes. */
function withLongName(bytes: number): Buffer {
  const name = der(0x06, Buffer.alloc(bytes, 0x81));
  const extension = der(0xa3, der(0x30, der(0x30, Buffer.concat([name, der(0x04)]))));
  const body = der(0x30, Buffer.concat([...Array.from({ length: 7 }, () => der(0x30)), extension]));
  return der(0x30, Buffer.concat([body, der(0x30), der(0x30)]));
}

/** One within the other. */
function levels(count: number): Buffer {
  let value: Buffer = der(0x30);
  for (let level = 0; level < count; level += 1) value = der(0x30, value);
  return value;
}

function der(tag: number, value: Buffer = Buffer.alloc(0)): Buffer {
  const { length } = value;
  const short = length < 128 ? [length] : [0x81, length];
  const written = length < 256 ? short : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...written]), value]);
}
