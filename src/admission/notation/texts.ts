import { quote } from '../../oci/quote.ts';

/** Why a Notation signature does not count, by the code of the refusal. */
export const REASONS = {
  'too-large': ({ most }: { most: number }) => `it has more than ${most} bytes`,
  malformed: ({ why }: { why: string }) => `it cannot be read: ${why}`,
  'media-type': ({ type }: { type: string }) => `${quote(type)} is no envelope that is read here`,
  key: ({ key }: { key: string }) =>
    `a key of ${key} is none that counts here (RSA of 2048, 3072 or 4096 bits, P-256, P-384, P-521)`,
  algorithm: ({ named, wanted }: { named: string; wanted: string }) =>
    `it was signed as ${quote(named)}, and its key signs as ${wanted}`,
  signature: () => 'the signature is of another key, or what it signs was changed',
  'payload-type': ({ type }: { type: string }) =>
    `it signs ${quote(type)}, which is no description of an image`,
  subject: ({ what }: { what: string }) =>
    `it signs another image: the ${what} is not that of this one`,
  critical: ({ why }: { why: string }) => `what it asks for cannot be met: ${why}`,
  scheme: ({ scheme }: { scheme: string }) => `the signing scheme ${quote(scheme)} is unknown`,
  chain: ({ why }: { why: string }) => `its certificates are no chain: ${why}`,
  certificate: ({ name, why }: { name: string; why: string }) =>
    `the certificate of ${quote(name)} does not count: ${why}`,
  store: ({ type }: { type: string }) =>
    `none of its certificates is in a store of the type ${type}`,
  identity: ({ identity }: { identity: string }) =>
    `${quote(identity)} signed it, whom the rule does not name`,
  expired: ({ at }: { at: string }) => `it has ended on ${at}`,
  validity: ({ name, why }: { name: string; why: string }) =>
    `the certificate of ${quote(name)} was not valid: ${why}`,
  timestamp: ({ why }: { why: string }) => `the time of the signature is not proven: ${why}`,
  unverified: ({ why }: { why: string }) => `it could not be verified: ${why}`,
} as const;

/** With what is wrong with evidence, or with the stores. */
export const TEXTS = {
  ...REASONS,
  tooMany: ({ what, most }: { what: string; most: number }) => `it has more than ${most} ${what}`,
  noBytes: ({ what }: { what: string }) => `${what} is no bytes`,
  noBase64: ({ what }: { what: string }) => `${what} is not in base64url`,
  noMessage: 'it is no COSE_Sign1 with a tag',
  unknownField: ({ name }: { name: string }) => `${quote(name)} is unknown`,
  noTime: ({ name }: { name: string }) => `${name} is missing, or no time`,
  otherTime: ({ name, scheme }: { name: string; scheme: string }) =>
    `${name} does not go with ${scheme}`,
  endsBefore: 'it ends before it was signed',
  notCritical: ({ name }: { name: string }) => `${name} is not said to be critical`,
  unknownCritical: ({ name }: { name: string }) => `${quote(name)} is not known here`,
  absentCritical: ({ name }: { name: string }) => `${name} is critical, missing or named twice`,
  plugin: 'it needs a plug-in',
  noChain: 'there are none',
  notIssued: ({ name, by }: { name: string; by: string }) =>
    `${quote(name)} was not issued by ${quote(by)}`,
  endsOpen: ({ name }: { name: string }) =>
    `the last one, ${quote(name)}, was issued by another one`,
  rootWithin: ({ name }: { name: string }) =>
    `${quote(name)} is issued by itself and not the last one`,
  notCertificate: 'it is no certificate',
  noValidity: 'the times of its certificate are none',
  extensionTwice: 'it has an extension twice',
  weakSignature: 'it was not signed with SHA-2',
  weakKey: ({ key }: { key: string }) => `its key is ${key}`,
  notAuthority: 'it is none of an authority',
  isAuthority: 'it is that of an authority',
  tooDeep: 'too many stand below it',
  notCriticalUsage: 'its key usage is missing or not critical',
  noCertSign: 'its key is not for signing certificates',
  notForSigning: 'its key is not for signatures alone',
  otherUsage: 'it is for other things than signing code',
  notAClock: 'it is not for timestamps alone',
  notYet: ({ at }: { at: string }) => `it is so from ${at} on`,
  noLonger: ({ at }: { at: string }) => `it was so until ${at}`,
  noClocks: 'no store of the type tsa is configured',
  notAToken: 'it is no timestamp of one clock',
  otherStamped: 'it is of another signature',
  otherSigner: 'the clock is another one than it says',
  notByClock: 'it is not signed by its clock',
  unknownClock: 'no store of the type tsa knows the clock',
} as const;
