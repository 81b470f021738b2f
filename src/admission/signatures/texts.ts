import { quote } from '../../oci/quote.ts';

/** Why a Sigstore signature does not count, by the code of the refusal. */
export const REASONS = {
  'too-large': ({ most }: { most: number }) => `it has more than ${most} bytes`,
  malformed: ({ why }: { why: string }) => `it cannot be read: ${why}`,
  'media-type': ({ type }: { type: string }) => `${quote(type)} is no signature that is read here`,
  signatures: ({ count }: { count: number }) => `it has ${count} signatures in place of one`,
  'payload-type': ({ type }: { type: string }) =>
    `it signs ${quote(type)}, which is no statement of an image`,
  'statement-type': ({ type }: { type: string }) =>
    `its statement is of the unknown form ${quote(type)}`,
  'predicate-type': ({ type }: { type: string }) =>
    `it states ${quote(type)}, which is not what was asked for`,
  'digest-algorithm': ({ algorithm }: { algorithm: string }) =>
    `it names the image by ${quote(algorithm)}, which is not compared here`,
  subject: () => 'it signs another image',
  'key-asked': () => 'it was signed with a certificate, and only keys count here',
  'identity-asked': () => 'it was signed with a key, and only certificates count here',
  'trust-root': () => 'it was signed with a certificate, and no trust root is configured',
  signature: () => 'the signature is of no key that counts here, or what it signs was changed',
  certificate: ({ why }: { why: string }) => `its certificate does not count: ${why}`,
  timestamp: ({ why }: { why: string }) => `the time of the signature is not proven: ${why}`,
  'log-entry': ({ why }: { why: string }) => `its entry in the log is not proven: ${why}`,
  'log-tie': ({ why }: { why: string }) => `its entry in the log is of another signature: ${why}`,
  identity: ({ identity }: { identity: string }) =>
    `${quote(identity)} signed it, whom the rule does not name`,
  issuer: ({ identity, issuer }: { identity: string; issuer: string }) =>
    `${quote(identity)} signed it by the word of ${quote(issuer)}, which the rule does not name`,
  unverified: ({ why }: { why: string }) => `it could not be verified: ${why}`,
} as const;

/** With what is wrong with evidence, or with what it is judged by. */
export const TEXTS = {
  ...REASONS,
  notUtf8: 'it is no text in UTF-8',
  notJson: 'it is no JSON',
  twice: ({ name }: { name: string }) => `it has ${quote(name)} twice`,
  deep: ({ most }: { most: number }) => `it is nested deeper than ${most} levels`,
  tooMany: ({ what, most }: { what: string; most: number }) => `it has more than ${most} ${what}`,
  notAsWritten: 'a part of it is unknown, doubled, or written in an unusual way',
  noObject: ({ what }: { what: string }) => `${what} is no object`,
  noText: ({ what }: { what: string }) => `${what} is no text`,
  noBase64: ({ what }: { what: string }) => `${what} is not in base64`,
  noPem: ({ what, type }: { what: string; type: string }) => `${what} is no PEM block of a ${type}`,
  otherKey: 'it names another key',
  unknownKind: 'it is of an unknown kind',
  unknownLog: 'the trust root does not know the log',
  noKeyOfLog: 'the key of the log was not in use then',
  names: 'it has not exactly one name',
  notText: 'a name in it is no ASCII text',
  noIssuer: 'it does not say by whose word its owner was known',
  notForCode: 'it is not for signing code',
  trustRootType: ({ type }: { type: string }) =>
    `${quote(type)} is no trust root that is read here`,
  authority: ({ what, name, from, until }: Record<'what' | 'name' | 'from' | 'until', string>) =>
    `${what}: ${name}, from ${from}${until === '' ? '' : ` until ${until}`}`,
  tufStatus: ({ host, path, status }: { host: string; path: string; status: number }) =>
    `${host} answered ${status} for ${path}`,
  tufTooLong: ({ host, path, most }: { host: string; path: string; most: number }) =>
    `${path} of ${host} has more than ${most} bytes`,
  noTarget: ({ name }: { name: string }) => `it publishes no ${name}`,
  noFirstRoot: 'its first root of trust is not known here; name its root.json with --root',
  noAuthority: 'it has no authority of certificates',
  notPublicKey: 'it is no public key in PEM ("-----BEGIN PUBLIC KEY-----")',
  weakKey: 'it is no ECDSA key (P-256, P-384, P-521), RSA key of 2048 bits or more, or Ed25519 key',
} as const;
