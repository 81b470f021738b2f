import 'reflect-metadata';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509CertificateGenerator,
  type Extension,
} from '@peculiar/x509';
import { encode, Tagged } from 'cborg';
import { constants, hash, KeyObject, sign, webcrypto } from 'node:crypto';
import { Certificate } from '../../../src/admission/notation/certificate.ts';
import { MADE_AT, MANIFEST, type Form } from './signed-by-notation.ts';

export interface Party {
  readonly keys: webcrypto.CryptoKeyPair;
  readonly subject: string;
  /** Its own first, then those above. */
  readonly chain: readonly Buffer<ArrayBuffer>[];
}

/** A certificate, where it is not a usual one of who signs code. */
export interface Wish {
  readonly subject?: string;
  readonly issuer?: Party;
  readonly isCa?: boolean;
  /** In place of the usual extensions. */
  readonly extensions?: readonly Extension[];
  readonly more?: readonly Extension[];
  readonly from?: number;
  readonly until?: number;
  readonly key?: webcrypto.RsaHashedKeyGenParams | webcrypto.EcKeyGenParams | webcrypto.Algorithm;
  /** What the issuer hashes with. */
  readonly hash?: string;
}

/** An envelope, where it is not a usual one. Names have no prefix. */
export interface Forgery {
  readonly target?: unknown;
  readonly payload?: Buffer;
  /** Over the usual ones; `undefined` leaves one out. */
  readonly attributes?: Readonly<Record<string, unknown>>;
  readonly critical?: unknown;
  readonly algorithm?: unknown;
  readonly type?: string;
  readonly chain?: readonly Uint8Array[];
  readonly timestamp?: Buffer;
  /** Of RSA, where it is not that of the hash. */
  readonly saltLength?: number;
}

export { BasicConstraintsExtension, KeyUsageFlags };
export const { digitalSignature, keyCertSign } = KeyUsageFlags;
export const NAME = 'C=US, ST=WA, O=Forgery';
const P256: webcrypto.EcKeyGenParams = { name: 'ECDSA', namedCurve: 'P-256' };
export const DAY = 86_400_000;
export const PREFIX = 'io.cncf.notary.';
const LABELS = new Map<string, number>([
  ['alg', 1],
  ['crit', 2],
  ['cty', 3],
]);
const ALGORITHMS: Readonly<Record<string, readonly [string, number, string]>> = {
  prime256v1: ['ES256', -7, 'sha256'],
  rsa: ['PS256', -37, 'sha256'],
};

export function ca(pathLength?: number): Extension[] {
  return [
    new BasicConstraintsExtension(true, pathLength, true),
    new KeyUsagesExtension(keyCertSign, true),
  ];
}

export function usage(flags: number, isCritical = true): Extension {
  return new KeyUsagesExtension(flags, isCritical);
}

export function extendedUsage(...uses: string[]): Extension {
  return new ExtendedKeyUsageExtension(uses, false);
}

export async function issue(wish: Wish = {}): Promise<Party> {
  const { subject = `${NAME}, CN=signer`, issuer, isCa = false, key = P256 } = wish;
  const usages: webcrypto.KeyUsage[] = ['sign', 'verify'];
  const keys = (await webcrypto.subtle.generateKey(key, true, usages)) as webcrypto.CryptoKeyPair;
  const usual = isCa ? ca() : [usage(digitalSignature)];
  const by = issuer?.keys ?? keys;
  const certificate = await X509CertificateGenerator.create({
    serialNumber: hash('sha1', subject + String(issuer?.subject), 'hex').slice(0, 16),
    subject,
    issuer: issuer?.subject ?? subject,
    notBefore: new Date(wish.from ?? MADE_AT - DAY),
    notAfter: new Date(wish.until ?? MADE_AT + 1000 * DAY),
    publicKey: keys.publicKey,
    signingKey: by.privateKey,
    signingAlgorithm: { ...by.privateKey.algorithm, hash: wish.hash ?? 'SHA-256' },
    extensions: [...(wish.extensions ?? usual), ...(wish.more ?? [])],
  });
  const own = Buffer.from(certificate.rawData);
  return { keys, subject, chain: [own, ...(issuer?.chain ?? [])] };
}

export function rootOf({ chain }: Party): Certificate {
  return new Certificate(Buffer.from(chain.at(-1)!));
}

export function seal(form: Form, party: Party, forgery: Forgery = {}): Buffer {
  return form === 'jws' ? sealJws(party, forgery) : sealCose(party, forgery);
}

export function targetOf(manifest: Buffer = MANIFEST): Record<string, unknown> {
  return {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: `sha256:${hash('sha256', manifest, 'hex')}`,
    size: manifest.length,
  };
}

export function sealJws(party: Party, forgery: Forgery): Buffer {
  const key = KeyObject.from(party.keys.privateKey);
  const attributes = attributesOf(forgery, algorithmOf(key)[0]);
  const times = [...attributes].map(([name, value]) =>
    value instanceof Date ? [name, value.toISOString().replace('.000', '')] : [name, value],
  );
  const head = encode64(JSON.stringify(Object.fromEntries(times)));
  const payload = encode64(payloadOf(forgery));
  const { chain = party.chain, timestamp } = forgery;
  return Buffer.from(
    JSON.stringify({
      payload,
      protected: head,
      header: {
        x5c: chain.map((each) => Buffer.from(each).toString('base64')),
        ...(timestamp && { [`${PREFIX}timestampSignature`]: timestamp.toString('base64') }),
      },
      signature: encode64(signWith(key, Buffer.from(`${head}.${payload}`), forgery)),
    }),
  );
}

export function sealCose(party: Party, forgery: Forgery): Buffer {
  const key = KeyObject.from(party.keys.privateKey);
  const attributes = attributesOf(forgery, algorithmOf(key)[1]);
  const labelled = [...attributes].map(([name, value]): [unknown, unknown] => [
    LABELS.get(name) ?? name,
    value instanceof Date ? new Tagged(1, value.getTime() / 1000) : value,
  ]);
  const head = encode(new Map(labelled));
  const payload = payloadOf(forgery);
  const signed = encode(['Signature1', head, new Uint8Array(), payload]);
  const signature = signWith(key, signed, forgery);
  const { chain = party.chain, timestamp } = forgery;
  const header = new Map<unknown, unknown>([[33, chain]]);
  if (timestamp) header.set(`${PREFIX}timestampSignature`, timestamp);
  return Buffer.from(encode(new Tagged(18, [head, header, payload, signature])));
}

function attributesOf(forgery: Forgery, algorithm: unknown): Map<string, unknown> {
  const usual = {
    signingScheme: 'notary.x509',
    signingTime: new Date(MADE_AT),
    ...forgery.attributes,
  };
  const critical = ['signingScheme', 'expiry', 'authenticSigningTime']
    .filter((name) => Object.entries(usual).some(([key, value]) => key === name && value))
    .map((name) => PREFIX + name);
  const all = {
    alg: 'algorithm' in forgery ? forgery.algorithm : algorithm,
    cty: forgery.type ?? 'application/vnd.cncf.notary.payload.v1+json',
    crit: 'critical' in forgery ? forgery.critical : critical,
    ...Object.fromEntries(Object.entries(usual).map(([name, value]) => [PREFIX + name, value])),
  };
  return new Map(Object.entries(all).filter(([, value]) => value !== undefined));
}

function payloadOf({ payload, target = targetOf() }: Forgery): Buffer {
  return payload ?? Buffer.from(JSON.stringify({ targetArtifact: target }));
}

function algorithmOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject) {
  const { namedCurve } = asymmetricKeyDetails ?? {};
  return ALGORITHMS[namedCurve ?? String(asymmetricKeyType)] ?? ['none', 0, 'sha256'];
}

function signWith(key: KeyObject, bytes: Uint8Array, forgery: Forgery): Buffer {
  if (key.asymmetricKeyType === 'ed25519') return sign(null, bytes, key);
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  const { saltLength = constants.RSA_PSS_SALTLEN_DIGEST } = forgery;
  const isRsa = key.asymmetricKeyType === 'rsa';
  const how = { key, dsaEncoding: 'ieee-p1363', ...(isRsa && { padding, saltLength }) } as const;
  return sign('sha256', bytes, how);
}

function encode64(bytes: Buffer | string): string {
  return Buffer.from(bytes).toString('base64url');
}
