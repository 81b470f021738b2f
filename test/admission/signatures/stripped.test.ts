import { chain, drop, set } from './mutations.ts';
import {
  BODY,
  CERTIFICATE,
  CHECKPOINT,
  ENTRIES,
  ENTRY,
  PAYLOAD,
  type Refused,
  TIMES,
  first,
  plain,
  proven,
  signed,
  stampAgain,
  testRefused,
  version,
  withChain,
} from './keyless.ts';

const STRIPPED: readonly Refused[] = [
  ['a certificate that no log has seen', await signed({ isLogged: false }), 'certificate'],
  ['no entry in a log, and no time', set(ENTRIES, [])(first), 'timestamp'],
  ['no entry in a log, but a timestamp', set(ENTRIES, [])(proven), 'log-entry'],
  ['no list of entries', drop(ENTRIES)(first), 'timestamp'],
  ['no timestamp where the log has no clock', drop(TIMES)(proven), 'timestamp'],
  ['an empty list of timestamps', set(`${TIMES}.rfc3161Timestamps`, [])(proven), 'timestamp'],
  ['no promise of the log', drop(`${ENTRY}.inclusionPromise`)(first), 'timestamp'],
  ['no proof of the log', drop(`${ENTRY}.inclusionProof`)(first), 'malformed'],
  ['no note of the log', drop(CHECKPOINT)(first), 'log-entry'],
  [
    'no proof in a bundle of version 0.1, and no promise',
    chain(
      withChain,
      version('0.1'),
      drop(`${ENTRY}.inclusionProof`),
      drop(`${ENTRY}.inclusionPromise`),
    )(first),
    'malformed',
  ],
  ['no body of the entry', drop(BODY)(first), 'log-entry'],
  ['no name of the log', drop(`${ENTRY}.logId`)(first), 'malformed'],
  ['no kind of the entry', drop(`${ENTRY}.kindVersion`)(first), 'malformed'],
  ['no time of the entry', drop(`${ENTRY}.integratedTime`)(first), 'timestamp'],
  ['no certificate', drop('verificationMaterial.certificate')(first), 'malformed'],
  ['an empty certificate', set(CERTIFICATE, '')(first), 'malformed'],
  [
    'an empty chain',
    chain(
      drop('verificationMaterial.certificate'),
      version('0.2'),
      set('verificationMaterial.x509CertificateChain', { certificates: [] }),
    )(first),
    'malformed',
  ],
  [
    'a key in place of a certificate',
    chain(
      drop('verificationMaterial.certificate'),
      set('verificationMaterial.publicKey', { hint: 'a' }),
    )(first),
    'identity-asked',
  ],
  ['no verification material', drop('verificationMaterial')(first), 'malformed'],
  ['no signature', drop('dsseEnvelope')(first), 'malformed'],
  [
    'an envelope without a list of signatures',
    drop('dsseEnvelope.signatures')(first),
    'signatures',
  ],
  [
    'an envelope with an empty list of signatures',
    set('dsseEnvelope.signatures', [])(first),
    'signatures',
  ],
  ['an envelope without a payload', drop(PAYLOAD)(first), 'malformed'],
  ['an envelope without a type', drop('dsseEnvelope.payloadType')(first), 'payload-type'],
  [
    'a plain signature without its digest',
    drop('messageSignature.messageDigest')(plain),
    'malformed',
  ],
  ['a plain signature without itself', drop('messageSignature.signature')(plain), 'malformed'],
  ['an empty object', {}, 'media-type'],
];

const EXPIRED: readonly Refused[] = [
  [
    'a signature a second after its certificate, by the clock of the log',
    await signed({ laterMs: 601_000 }),
    'certificate',
  ],
  [
    'a signature a second before its certificate, by the clock of the log',
    await signed({ laterMs: -1000 }),
    'certificate',
  ],
  [
    'a signature after its certificate, by a timestamp',
    await signed({ log: 'hashedrekord 0.0.2', laterMs: 601_000 }),
    'certificate',
  ],
  [
    'a signature before its certificate, by a timestamp',
    await signed({ log: 'hashedrekord 0.0.2', laterMs: -1000 }),
    'certificate',
  ],
  [
    'one of two timestamps that is after the certificate',
    await stampAgain(await signed(), 601_000),
    'certificate',
  ],
];

testRefused([...STRIPPED, ...EXPIRED]);
