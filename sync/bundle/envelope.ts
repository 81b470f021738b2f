import { BundleError } from './bundle-error.ts';
import type { SigningKey } from './signing-key.ts';
import { TEXTS } from './texts.ts';
import { SIGNATURE_BYTES, type TrustedKey } from './trusted-key.ts';

/** Of payloads in envelopes. */
export const PAYLOAD_TYPE = {
  manifest: 'application/vnd.entrepot.bundle.v1+json',
  trailer: 'application/vnd.entrepot.part.v1+json',
} as const;

export type PayloadType = (typeof PAYLOAD_TYPE)[keyof typeof PAYLOAD_TYPE];

export interface Opened {
  readonly payload: Buffer;
  readonly key: TrustedKey;
}

/** An envelope whose signature nobody has looked at. */
export interface Unverified {
  readonly payload: Buffer;
  /** Which key it says that it is signed by: anybody can write that. */
  readonly keyId: string;
  readonly signature: Buffer;
}

interface Document {
  readonly payloadType: string;
  readonly payload: string;
  readonly signatures: readonly [{ readonly keyid: string; readonly sig: string }];
}

const KEY_ID = /^sha256:[0-9a-f]{64}$/;

/**
 * Signs a payload with its type. Envelopes of payloads of one size and type have one size.
 * @see https://github.com/secure-systems-lab/dsse/blob/v1.0.2/envelope.md
 */
export function sealEnvelope(payload: Uint8Array, type: PayloadType, key: SigningKey): Buffer {
  const signature = key.sign(encodeForSignature(payload, type));
  return format({ payload: Buffer.from(payload), keyId: key.public.id, signature }, type);
}

/** How many bytes `sealEnvelope` makes of a payload. */
export function envelopeSize(payloadSize: number, type: PayloadType): number {
  const empty = format(
    {
      payload: Buffer.alloc(0),
      keyId: `sha256:${'0'.repeat(64)}`,
      signature: Buffer.alloc(SIGNATURE_BYTES),
    },
    type,
  );
  return empty.length + 4 * Math.ceil(payloadSize / 3);
}

/**
 * The payload, and which of these keys signed it. There is exactly one signature; the key that it names
 * is only the one that is tried first. Throws a `BundleError`: with code `signature` where no key of
 * these signed it, else with `format`.
 */
export function openEnvelope(
  bytes: Uint8Array,
  { type, keys }: { type: PayloadType; keys: readonly TrustedKey[] },
): Opened {
  const { payload, keyId, signature } = readEnvelope(bytes, type);
  const signed = encodeForSignature(payload, type);
  const named = keys.filter(({ id }) => id === keyId);
  const key = [...named, ...keys.filter(({ id }) => id !== keyId)].find((each) =>
    each.verify(signed, signature),
  );
  if (key) return { payload, key };
  throw new BundleError('signature', TEXTS.envelopeKey({ what: nounOf(type), id: keyId }));
}

/**
 * Looks into an envelope without asking who signed it. Throws a `BundleError` with code `format` for all
 * but the bytes that `sealEnvelope` makes.
 */
export function readEnvelope(bytes: Uint8Array, type: PayloadType): Unverified {
  const what = nounOf(type);
  let envelope: Unverified;
  let payloadType: string;
  try {
    const document = JSON.parse(Buffer.from(bytes).toString()) as Document;
    const [{ keyid, sig }] = document.signatures;
    const [payload, signature] = [document.payload, sig].map((text) => Buffer.from(text, 'base64'));
    envelope = { payload: payload!, keyId: keyid, signature: signature! };
    ({ payloadType } = document);
    // A second signature, another key or another way to write it: of all that there is one form.
    if (
      typeof payloadType !== 'string' ||
      !KEY_ID.test(keyid) ||
      !format(envelope, payloadType).equals(bytes)
    )
      throw new TypeError();
  } catch (error) {
    throw new BundleError('format', TEXTS.envelopeForm({ what }), { cause: error });
  }
  if (payloadType === type) return envelope;
  throw new BundleError('format', TEXTS.envelopeType({ what, type: clip(payloadType) }));
}

function format({ payload, keyId, signature }: Unverified, payloadType: string): Buffer {
  const envelope: Document = {
    payloadType,
    payload: payload.toString('base64'),
    signatures: [{ keyid: keyId, sig: signature.toString('base64') }],
  };
  return Buffer.from(`${JSON.stringify(envelope)}\n`);
}

/** @see https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md#signature-definition */
function encodeForSignature(payload: Uint8Array, type: PayloadType): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}

function nounOf(type: PayloadType): string {
  return type === PAYLOAD_TYPE.manifest ? 'manifest' : 'trailer';
}

function clip(text: string): string {
  const plain = text.replace(/[^\x20-\x7e]/g, '?');
  return plain.length > 100 ? `${plain.slice(0, 100)}…` : plain;
}
