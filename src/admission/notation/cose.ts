import { encode, Tagged } from 'cborg';
import { decodeStrictCbor, type CborBounds } from '../../oci/strict-cbor.ts';
import { readChain } from './certificate.ts';
import { TIMES, TIMESTAMP, type Envelope } from './envelope.ts';
import { refuse } from './refuse.ts';
import { algorithmOf } from './signing-algorithm.ts';
import { TEXTS } from './texts.ts';

/** Each of which may be one more level. */
const MAX_ITEMS = 1_000;
const SIGN1 = 18;
const EPOCH_TIME = 1;
const CHAIN = 33;
/** Those with a name in JWS. */
const LABELS: ReadonlyMap<unknown, string> = new Map([
  [1, 'alg'],
  [2, 'crit'],
  [3, 'cty'],
]);

/**
 * Throws `Refused` for what is no COSE_Sign1, or has more than 1,000 items.
 * @see https://github.com/notaryproject/specifications/blob/main/specs/signature-envelope-cose.md
 */
export function readCose(bytes: Uint8Array, most: number): Envelope {
  if (bytes.length > most) throw refuse('too-large', { most });
  const message = decodeStrict(bytes, { [SIGN1]: Tagged.decoder(SIGN1) });
  const parts: unknown = message instanceof Tagged ? message.value : undefined;
  if (!Array.isArray(parts) || parts.length !== 4) {
    throw refuse('malformed', { why: TEXTS.noMessage });
  }
  const [head, header, payload, signature] = parts as unknown[];
  const attributes = readAttributes(asBytes(head, 'protected'));
  const unsigned: ReadonlyMap<unknown, unknown> = header instanceof Map ? header : new Map();
  const list: unknown = unsigned.get(CHAIN);
  const chain = readChain(
    (Array.isArray(list) ? list : []).map((each) => asBytes(each, 'x5chain')),
  );
  const token = unsigned.get(TIMESTAMP);
  const structure = ['Signature1', head, new Uint8Array(), payload];
  const { label } = algorithmOf(chain[0].key);
  return {
    payload: asBytes(payload, 'payload'),
    signed: Buffer.from(encode(structure)),
    signature: asBytes(signature, 'signature'),
    algorithm: { named: String(attributes.get('alg')), wanted: String(label) },
    attributes,
    chain,
    ...(token !== undefined && { timestamp: asBytes(token, TIMESTAMP) }),
  };
}

function readAttributes(bytes: Uint8Array): Map<string, unknown> {
  const time = (control: () => unknown): Date => new Date(Number(control()) * 1000);
  const map = decodeStrict(bytes, { [EPOCH_TIME]: time });
  if (!(map instanceof Map)) throw refuse('malformed', { why: TEXTS.noMessage });
  const attributes = new Map<string, unknown>();
  for (const [label, value] of map as Map<unknown, unknown>) {
    const name = nameOf(label);
    const isWrong = TIMES.has(name) && !(value instanceof Date);
    attributes.set(name, isWrong ? undefined : value);
  }
  const critical = attributes.get('crit');
  if (Array.isArray(critical)) attributes.set('crit', critical.map(nameOf));
  return attributes;
}

/** A number is none of the names. */
function nameOf(label: unknown): string {
  return LABELS.get(label) ?? (typeof label === 'string' ? label : `label ${String(label)}`);
}

function decodeStrict(bytes: Uint8Array, tags: NonNullable<CborBounds['tags']>): unknown {
  try {
    return decodeStrictCbor(bytes, { maxItems: MAX_ITEMS, tags });
  } catch (error) {
    throw refuse('malformed', { why: error instanceof Error ? error.message : String(error) });
  }
}

function asBytes(value: unknown, what: string): Buffer<ArrayBuffer> {
  if (value instanceof Uint8Array && value.length > 0) return Buffer.from(value);
  throw refuse('malformed', { why: TEXTS.noBytes({ what }) });
}
