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

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

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

/** Looks into an envelope without asking who signed it. Throws a `BundleError` with code `format`. */
export function readEnvelope(bytes: Uint8Array, type: PayloadType): Unverified {
  const { payloadType, payload, signatures } = parse(bytes, type);
  const what = nounOf(type);
  const [signature, ...others] = Array.isArray(signatures) ? (signatures as unknown[]) : [];
  const { keyid, sig } = (signature ?? {}) as Record<string, unknown>;
  if (
    typeof payloadType !== 'string' ||
    !isBase64(payload) ||
    others.length > 0 ||
    typeof keyid !== 'string' ||
    !isBase64(sig)
  ) {
    throw new BundleError('format', TEXTS.envelopeForm({ what }));
  }
  if (payloadType !== type) {
    throw new BundleError('format', TEXTS.envelopeType({ what, type: clip(payloadType) }));
  }
  return {
    payload: Buffer.from(payload, 'base64'),
    keyId: clip(keyid),
    signature: Buffer.from(sig, 'base64'),
  };
}

function parse(bytes: Uint8Array, type: PayloadType): Record<string, unknown> {
  try {
    return (JSON.parse(Buffer.from(bytes).toString()) ?? {}) as Record<string, unknown>;
  } catch (error) {
    const message = TEXTS.envelopeForm({ what: nounOf(type) });
    throw new BundleError('format', message, { cause: error });
  }
}

function format({ payload, keyId, signature }: Unverified, payloadType: PayloadType): Buffer {
  const envelope = {
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

function isBase64(text: unknown): text is string {
  return typeof text === 'string' && BASE64.test(text);
}

function nounOf(type: PayloadType): string {
  return type === PAYLOAD_TYPE.manifest ? 'manifest' : 'trailer';
}

function clip(text: string): string {
  const plain = text.replace(/[^\x20-\x7e]/g, '?');
  return plain.length > 100 ? `${plain.slice(0, 100)}…` : plain;
}
