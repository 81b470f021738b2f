import { createHash, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { initializeCA, initializeCTLog, initializeTLog, initializeTSA } from '@sigstore/mock';

interface Pair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/** A piece of JSON that is changed at will. */
export type Json = { [name: string]: JsonValue };
export type JsonValue = Json | JsonValue[] | string | number | boolean | null | undefined;

export interface Signing {
  readonly identity?: string;
  readonly issuer?: string;
  /** What is put under the signature: an envelope, or the bytes themselves. */
  readonly payloadType?: string;
  readonly payload: Uint8Array;
  /** Without an envelope. */
  readonly isPlain?: boolean;
  /** The log of the first version has a clock, that of the second needs a timestamp. */
  readonly log?:
    'dsse 0.0.1' | 'intoto 0.0.2' | 'hashedrekord 0.0.1' | 'hashedrekord 0.0.2' | 'dsse 0.0.2';
  readonly isStamped?: boolean;
  /** Whether the log of certificates has seen that of the signer. */
  readonly isLogged?: boolean;
  /** How long after the certificate was issued the log and the timestamp say that it was used. */
  readonly laterMs?: number;
}

export const IDENTITY = 'https://github.com/org/app/.github/workflows/release.yml@refs/heads/main';
export const ISSUER = 'https://token.actions.githubusercontent.com';
const HOST = 'https://rekor.mock';
const SHA256 = '2.16.840.1.101.3.4.2.1';

/** A Sigstore of its own: an authority of certificates and its log, a log of signatures, a clock. */
export class Authority {
  /** When certificates are issued. They are valid for ten minutes. */
  readonly at: number;
  readonly root: Json;
  readonly #ca: Awaited<ReturnType<typeof initializeCA>>;
  /** The same one, which tells its log nothing. */
  readonly #silent: Awaited<ReturnType<typeof initializeCA>>;
  readonly #log: Pair;
  readonly #clock: Pair;

  static async create(): Promise<Authority> {
    // Its own certificates are valid from now on.
    const at = (Math.floor(Date.now() / 1000) + 3600) * 1000;
    const [ca, ct, log, clock] = [newPair(), newPair(), newPair(), newPair()];
    const logOfCertificates = await initializeCTLog(ct, new Date(at));
    const authority = await initializeCA(ca, logOfCertificates, new Date(at));
    const silent = await initializeCA(ca, undefined, new Date(at));
    const { rootCertificate, intCertificate } = await initializeTSA(clock, new Date(at));
    const start = new Date(at - 7_200_000).toISOString();
    const chain = (...certificates: ArrayBufferView<ArrayBuffer>[]): Json => ({
      certChain: { certificates: certificates.map((each) => ({ rawBytes: base64(each) })) },
      validFor: { start },
    });
    const root = {
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: [describeLog(HOST, log.publicKey, start)],
      certificateAuthorities: [chain(authority.rootCertificate)],
      ctlogs: [describeLog('https://ct.mock', ct.publicKey, start)],
      timestampAuthorities: [chain(intCertificate, rootCertificate)],
    };
    return new Authority({ at, ca: authority, silent, log, clock, root });
  }

  private constructor(parts: {
    at: number;
    ca: Awaited<ReturnType<typeof initializeCA>>;
    silent: Awaited<ReturnType<typeof initializeCA>>;
    log: Pair;
    clock: Pair;
    root: Json;
  }) {
    this.at = parts.at;
    this.root = parts.root;
    this.#ca = parts.ca;
    this.#silent = parts.silent;
    this.#log = parts.log;
    this.#clock = parts.clock;
  }

  /** A bundle of version 0.3, signed as it should be. */
  async sign(signing: Signing): Promise<Json> {
    const { payload, payloadType = 'application/vnd.in-toto+json', isPlain = false } = signing;
    const { log = isPlain ? 'hashedrekord 0.0.1' : 'dsse 0.0.1', laterMs = 0 } = signing;
    const key = newPair();
    const certificate = await this.#issue(key.publicKey, signing);
    const signed = isPlain ? payload : encode(payloadType, payload);
    const signature = sign('sha256', signed, key.privateKey);
    const entry = await this.#enter(
      log,
      { payload, payloadType, signed, signature, certificate },
      laterMs,
    );
    const isStamped = signing.isStamped ?? log.endsWith('0.0.2');
    return {
      mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
      verificationMaterial: {
        certificate: { rawBytes: base64(certificate) },
        tlogEntries: [entry],
        ...(isStamped && {
          timestampVerificationData: {
            rfc3161Timestamps: [{ signedTimestamp: await this.stamp(signature, laterMs) }],
          },
        }),
      },
      ...(isPlain
        ? {
            messageSignature: {
              messageDigest: { algorithm: 'SHA2_256', digest: base64(sha256(payload)) },
              signature: base64(signature),
            },
          }
        : {
            dsseEnvelope: {
              payload: base64(payload),
              payloadType,
              signatures: [{ sig: base64(signature) }],
            },
          }),
    };
  }

  /** The clock's word on a signature, in base64. */
  async stamp(signature: Uint8Array, laterMs = 0): Promise<string> {
    const clock = await initializeTSA(this.#clock, new Date(this.at + laterMs));
    const stamp = await clock.timestamp({
      artifactHash: sha256(signature),
      hashAlgorithmOID: SHA256,
      nonce: 7,
      policyOID: '1.2.3.4',
    });
    return base64(stamp);
  }

  /** An entry of the log with this body. */
  async enter(body: Json, laterMs = 0): Promise<Json> {
    const log = await initializeTLog(HOST, this.#log, new Date(this.at + laterMs));
    const [entry] = Object.values<Logged>(await log.log(body));
    const { inclusionProof, signedEntryTimestamp } = entry!.verification;
    return {
      logIndex: String(entry!.logIndex),
      logId: { keyId: Buffer.from(entry!.logID, 'hex').toString('base64') },
      kindVersion: { kind: body['kind'], version: body['apiVersion'] },
      integratedTime: String(entry!.integratedTime),
      inclusionPromise: { signedEntryTimestamp: signedEntryTimestamp },
      inclusionProof: {
        logIndex: String(inclusionProof.logIndex),
        rootHash: Buffer.from(inclusionProof.rootHash, 'hex').toString('base64'),
        treeSize: String(inclusionProof.treeSize),
        checkpoint: { envelope: inclusionProof.checkpoint },
      },
      canonicalizedBody: entry!.body,
    };
  }

  async #enter(log: string, parts: Parts, laterMs: number): Promise<Json> {
    const entry = await this.enter(BODIES[log]!(parts), laterMs);
    if (!log.endsWith('0.0.2') || log.startsWith('intoto')) return entry;
    // The second version of the log tells no time.
    const { inclusionPromise: _, integratedTime: __, ...rest } = entry;
    return rest;
  }

  async #issue(key: KeyObject, signing: Signing): Promise<Buffer> {
    const { identity = IDENTITY, issuer = ISSUER, isLogged = true } = signing;
    const authority = isLogged ? this.#ca : this.#silent;
    const certificate = await authority.issueCertificate({
      publicKey: key.export({ format: 'der', type: 'spki' }),
      subjectAltName: identity,
      extensions: [{ oid: '1.3.6.1.4.1.57264.1.8', value: issuer }],
    });
    return Buffer.from(certificate.buffer, certificate.byteOffset, certificate.byteLength);
  }
}

/** What the log answers, as far as it is looked at. */
interface Logged {
  readonly body: string;
  readonly integratedTime: number;
  readonly logID: string;
  readonly logIndex: number;
  readonly verification: {
    readonly signedEntryTimestamp: string;
    readonly inclusionProof: {
      readonly checkpoint: string;
      readonly logIndex: number;
      readonly rootHash: string;
      readonly treeSize: number;
    };
  };
}

interface Parts {
  readonly payload: Uint8Array;
  readonly payloadType: string;
  readonly signed: Uint8Array;
  readonly signature: Buffer;
  readonly certificate: Buffer;
}

/** What each kind of entry says. */
const BODIES: Readonly<Record<string, (parts: Parts) => Json>> = {
  'hashedrekord 0.0.1': ({ signed, signature, certificate }) => ({
    kind: 'hashedrekord',
    apiVersion: '0.0.1',
    spec: {
      data: { hash: { algorithm: 'sha256', value: sha256(signed).toString('hex') } },
      signature: { content: base64(signature), publicKey: { content: pemOf(certificate) } },
    },
  }),
  'dsse 0.0.1': ({ payload, signature, certificate }) => ({
    kind: 'dsse',
    apiVersion: '0.0.1',
    spec: {
      envelopeHash: { algorithm: 'sha256', value: '00' },
      payloadHash: { algorithm: 'sha256', value: sha256(payload).toString('hex') },
      signatures: [{ signature: base64(signature), verifier: pemOf(certificate) }],
    },
  }),
  'intoto 0.0.2': ({ payload, payloadType, signature, certificate }) => ({
    kind: 'intoto',
    apiVersion: '0.0.2',
    spec: {
      content: {
        envelope: {
          payloadType,
          signatures: [
            { sig: base64(Buffer.from(base64(signature))), publicKey: pemOf(certificate) },
          ],
        },
        payloadHash: { algorithm: 'sha256', value: sha256(payload).toString('hex') },
      },
    },
  }),
  'hashedrekord 0.0.2': ({ signed, signature, certificate }) => ({
    kind: 'hashedrekord',
    apiVersion: '0.0.2',
    spec: {
      hashedRekordV002: {
        data: { algorithm: 'SHA2_256', digest: base64(sha256(signed)) },
        signature: { content: base64(signature), verifier: verifierOf(certificate) },
      },
    },
  }),
  'dsse 0.0.2': ({ payload, signature, certificate }) => ({
    kind: 'dsse',
    apiVersion: '0.0.2',
    spec: {
      dsseV002: {
        payloadHash: { algorithm: 'SHA2_256', digest: base64(sha256(payload)) },
        signatures: [{ content: base64(signature), verifier: verifierOf(certificate) }],
      },
    },
  }),
};

export function newPair(): Pair {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

export function base64(bytes: ArrayBufferView): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

export function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

/** What is put under the signature of an envelope. */
export function encode(type: string, payload: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload]);
}

/** A manifest of an image that there is only once. */
export function newManifest(): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, seed: randomBytes(8).toString('hex') }));
}

function pemOf(certificate: Buffer): string {
  const lines = base64(certificate).match(/.{1,64}/g) ?? [];
  const pem = ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
  return base64(Buffer.from(pem));
}

function verifierOf(certificate: Buffer): Json {
  return {
    x509Certificate: { rawBytes: base64(certificate) },
    keyDetails: 'PKIX_ECDSA_P256_SHA_256',
  };
}

function describeLog(baseUrl: string, key: KeyObject, start: string): Json {
  const rawBytes = key.export({ format: 'der', type: 'spki' });
  return {
    baseUrl,
    hashAlgorithm: 'SHA2_256',
    publicKey: {
      rawBytes: base64(rawBytes),
      keyDetails: 'PKIX_ECDSA_P256_SHA_256',
      validFor: { start },
    },
    logId: { keyId: base64(sha256(rawBytes)) },
  };
}
