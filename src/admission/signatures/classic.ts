import type { Bundle } from '@sigstore/bundle';
import { HashAlgorithm } from '@sigstore/protobuf-specs';
import { hash } from 'node:crypto';
import { refuse } from './refused.ts';
import { asBytes, asObject, asText, checkMarks, parseStrictObject } from './strict-json.ts';
import { TEXTS } from './texts.ts';

/** A layer of a manifest that cosign keeps under a tag of its own: `sha256-….sig` and `.att`. */
export interface ClassicLayer {
  readonly mediaType: string;
  readonly payload: Uint8Array;
  readonly annotations: Readonly<Record<string, string>>;
}

type Material = Bundle['verificationMaterial'];
type Entry = Material['tlogEntries'][number];

const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json';
const ENVELOPE = 'application/vnd.dsse.envelope.v1+json';
const SIGNATURE = 'dev.cosignproject.cosign/signature';
const CERTIFICATE = 'dev.sigstore.cosign/certificate';
const LOG_ENTRY = 'dev.sigstore.cosign/bundle';
const TIMESTAMP = 'dev.sigstore.cosign/rfc3161timestamp';
const MAX_ANNOTATION = 2 ** 18;
const CERTIFICATE_FORM =
  /^\s*-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*$/;

/**
 * The bundle that a layer of earlier versions of cosign comes to. Its `dev.sigstore.cosign/chain` is left
 * alone: whom a certificate is traced back to says the trust root. At most so many bytes, and 256 KiB in an
 * annotation. Throws `Refused`.
 * @see https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
 */
export function readClassic(
  { mediaType, payload, annotations }: ClassicLayer,
  most: number,
): Bundle {
  if (payload.length > most) throw refuse('too-large', { most });
  for (const name of [SIGNATURE, CERTIFICATE, LOG_ENTRY, TIMESTAMP]) {
    if ((annotations[name]?.length ?? 0) > MAX_ANNOTATION) {
      throw refuse('too-large', { most: MAX_ANNOTATION });
    }
  }
  // What follows from the kind is checked with it: the type of a bundle has no say below.
  return {
    mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1',
    content: readContent(mediaType, payload, annotations, most),
    verificationMaterial: readMaterial(annotations),
  };
}

function readContent(
  mediaType: string,
  payload: Uint8Array,
  annotations: ClassicLayer['annotations'],
  most: number,
): Bundle['content'] {
  switch (mediaType) {
    case SIMPLE_SIGNING: {
      const digest = hash('sha256', payload, 'buffer');
      const messageDigest = { algorithm: HashAlgorithm.SHA2_256, digest };
      const signature = asBytes(annotations[SIGNATURE], SIGNATURE);
      return { $case: 'messageSignature', messageSignature: { messageDigest, signature } };
    }
    case ENVELOPE:
      return { $case: 'dsseEnvelope', dsseEnvelope: readEnvelope(payload, most) };
    default:
      throw refuse('media-type', { type: mediaType });
  }
}

function readEnvelope(
  bytes: Uint8Array,
  most: number,
): Extract<Bundle['content'], { $case: 'dsseEnvelope' }>['dsseEnvelope'] {
  checkMarks(bytes.subarray(0, most));
  const { payloadType, payload, signatures } = parseStrictObject(bytes, 'it', most);
  const list: readonly unknown[] = Array.isArray(signatures) ? signatures : [];
  if (list.length !== 1) throw refuse('signatures', { count: list.length });
  const { sig } = asObject(list[0], 'signatures[0]');
  return {
    payloadType: asText(payloadType, 'payloadType'),
    payload: asBytes(payload, 'payload'),
    signatures: [{ keyid: '', sig: asBytes(sig, 'sig') }],
  };
}

function readMaterial(annotations: ClassicLayer['annotations']): Material {
  const certificate = annotations[CERTIFICATE];
  const entry = annotations[LOG_ENTRY];
  const timestamp = annotations[TIMESTAMP];
  return {
    content:
      certificate === undefined
        ? { $case: 'publicKey', publicKey: { hint: '' } }
        : { $case: 'certificate', certificate: { rawBytes: readCertificate(certificate) } },
    tlogEntries: entry === undefined ? [] : [readEntry(entry)],
    timestampVerificationData: {
      rfc3161Timestamps: timestamp === undefined ? [] : [readTimestamp(timestamp)],
    },
  };
}

function readCertificate(pem: string): Buffer<ArrayBuffer> {
  const [, body] = CERTIFICATE_FORM.exec(pem) ?? [];
  if (body !== undefined) return asBytes(body.replaceAll(/\s/g, ''), CERTIFICATE);
  throw refuse('malformed', { why: TEXTS.noPem({ what: CERTIFICATE, type: 'certificate' }) });
}

function readEntry(text: string): Entry {
  const { SignedEntryTimestamp, Payload } = parseAnnotation(text, LOG_ENTRY);
  const { body, integratedTime, logIndex, logID } = asObject(Payload, 'Payload');
  const canonicalizedBody = asBytes(body, 'body');
  const { kind, apiVersion } = parseStrictObject(canonicalizedBody, 'body', MAX_ANNOTATION);
  return {
    logIndex: String(logIndex),
    logId: { keyId: Buffer.from(asText(logID, 'logID'), 'hex') },
    kindVersion: { kind: asText(kind, 'kind'), version: asText(apiVersion, 'apiVersion') },
    integratedTime: String(integratedTime),
    inclusionPromise: {
      signedEntryTimestamp: asBytes(SignedEntryTimestamp, 'SignedEntryTimestamp'),
    },
    inclusionProof: undefined,
    canonicalizedBody,
  };
}

function readTimestamp(text: string): { signedTimestamp: Buffer<ArrayBuffer> } {
  const { SignedRFC3161Timestamp } = parseAnnotation(text, TIMESTAMP);
  return { signedTimestamp: asBytes(SignedRFC3161Timestamp, 'SignedRFC3161Timestamp') };
}

function parseAnnotation(text: string, name: string): Readonly<Record<string, unknown>> {
  return parseStrictObject(Buffer.from(text), name, MAX_ANNOTATION);
}
