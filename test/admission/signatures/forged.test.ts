import { sign } from 'node:crypto';
import { base64, encode, newPair, type Json } from './authority.ts';
import {
  add,
  bytes,
  chain,
  edit,
  flip,
  get,
  getText,
  reword,
  set,
  take,
  text,
} from './mutations.ts';
import {
  BODY,
  CERTIFICATE,
  CHECKPOINT,
  ENTRIES,
  ENTRY,
  PAYLOAD,
  ROOT_CERTIFICATE,
  type Refused,
  SIGNATURE,
  SIGNED,
  STAMP,
  authority,
  enterAgain,
  first,
  forged,
  proven,
  rogue,
  second,
  setInBody,
  signed,
  stampAgain,
  testRefused,
  version,
  withChain,
} from './keyless.ts';

const FORGED: readonly Refused[] = [
  ['a signature by an authority that calls itself the same', forged, 'log-entry'],
  ['its signature in a log that we trust', await enterAgain(forged), 'certificate'],
  [
    'its signature in a log that we trust, with a timestamp that we trust',
    await stampAgain(await enterAgain(forged)),
    'certificate',
  ],
  ['its signature with a certificate that we trust', take(CERTIFICATE, first)(forged), 'log-entry'],
  [
    'its timestamp',
    take(STAMP, await signed({ log: 'hashedrekord 0.0.2' }, rogue))(proven),
    'timestamp',
  ],
  ['its entry in its own log', take(ENTRY, forged)(first), 'log-entry'],
  [
    'a chain that brings the authority that calls itself the same',
    chain(
      withChain,
      version('0.2'),
      add('verificationMaterial.x509CertificateChain.certificates', {
        rawBytes: get(rogue.root, ROOT_CERTIFICATE),
      }),
    )(await enterAgain(forged)),
    'certificate',
  ],
  ['a signature with another bit', flip(SIGNATURE)(first), 'log-tie'],
  [
    'such a signature in the log',
    await enterAgain(inBody(SIGNED, flip(SIGNATURE)(first))),
    'signature',
  ],
  ['a payload with a space more', text(PAYLOAD, (value) => `${value} `)(first), 'log-tie'],
  [
    'a payload with a space more, and no log',
    chain(
      text(PAYLOAD, (value) => `${value} `),
      set(ENTRIES, []),
    )(proven),
    'log-entry',
  ],
  ['a signature of no bytes', set(SIGNATURE, '')(first), 'malformed'],
  ['a signature of one byte', set(SIGNATURE, 'AA==')(first), 'log-tie'],
  ['a signature by another key than that of the certificate', await signAgain(first), 'signature'],
  ['a certificate with another bit', flip(CERTIFICATE, 60)(first), 'certificate'],
  [
    'a certificate cut short',
    bytes(CERTIFICATE, (value) => value.subarray(0, 200))(first),
    'unverified',
  ],
  [
    'a certificate with a byte more',
    bytes(CERTIFICATE, (value) => Buffer.concat([value, value.subarray(0, 1)]))(first),
    'unverified',
  ],
  [
    'a certificate that is a text',
    set(CERTIFICATE, base64(Buffer.from('certificate')))(first),
    'unverified',
  ],
  [
    'the authority in place of its certificate',
    take(CERTIFICATE, set(CERTIFICATE, get(authority.root, ROOT_CERTIFICATE))(first))(first),
    'certificate',
  ],
  [
    'an entry with another time',
    edit(`${ENTRY}.integratedTime`, (time) => String(Number(time) + 1))(first),
    'log-entry',
  ],
  [
    'an entry with another place',
    edit(`${ENTRY}.logIndex`, (at) => String(Number(at) + 1))(first),
    'log-entry',
  ],
  [
    'an entry with another body',
    text(BODY, (value) => value.replace('"kind"', '"kinD"'))(first),
    'log-entry',
  ],
  [
    'an entry with another promise',
    flip(`${ENTRY}.inclusionPromise.signedEntryTimestamp`)(first),
    'log-entry',
  ],
  ['an entry with another proof', flip(`${ENTRY}.canonicalizedBody`, 30)(proven), 'log-entry'],
  [
    'a proof of another size of the log',
    reword(CHECKPOINT, (note) => note.replace('\n1\n', '\n2\n'))(proven),
    'log-entry',
  ],
  [
    'a proof with a hash too many',
    set(`${ENTRY}.inclusionProof.hashes`, [base64(Buffer.alloc(32))])(proven),
    'log-entry',
  ],
  ['a proof of another place', set(`${ENTRY}.inclusionProof.logIndex`, '1')(proven), 'log-entry'],
  [
    'a proof of a place below none',
    set(`${ENTRY}.inclusionProof.logIndex`, '-1')(proven),
    'log-entry',
  ],
  ['a proof with the note of another entry', take(CHECKPOINT, second)(proven), 'log-entry'],
  [
    'a proof whose note nobody signed',
    reword(CHECKPOINT, (note) => note.split('\u2014')[0]!)(proven),
    'log-entry',
  ],
  [
    'a proof whose note is signed by another log',
    reword(CHECKPOINT, (note) => note.replace('rekor.mock', 'rekor.mock.example'))(proven),
    'log-entry',
  ],
  [
    'an entry of a log by another name',
    set(`${ENTRY}.logId.keyId`, base64(Buffer.alloc(32, 7)))(first),
    'log-entry',
  ],
  ['a timestamp with another bit', flip(STAMP)(proven), 'timestamp'],
  ['a timestamp cut short', bytes(STAMP, (value) => value.subarray(0, 99))(proven), 'unverified'],
];

testRefused(FORGED);

/** What the entry says there is what the bundle has. */
function inBody(path: string, bundle: Json): Json {
  return setInBody(path, get(bundle, SIGNATURE), bundle);
}

/** Signed by a key that no certificate is of. */
async function signAgain(bundle: Json): Promise<Json> {
  const payload = Buffer.from(getText(bundle, PAYLOAD), 'base64');
  const { privateKey } = newPair();
  const value = base64(sign('sha256', encode('application/vnd.in-toto+json', payload), privateKey));
  return enterAgain(setInBody(SIGNED, value, set(SIGNATURE, value)(bundle)));
}
