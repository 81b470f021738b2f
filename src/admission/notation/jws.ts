import { asBytes, asObject, asText, parseStrictObject } from '../signatures/strict-json.ts';
import { readChain } from './certificate.ts';
import { TIMES, TIMESTAMP, type Envelope } from './envelope.ts';
import { refuse } from './refuse.ts';
import { algorithmOf } from './signing-algorithm.ts';
import { TEXTS } from './texts.ts';

/** Another spelling of one of them is another field to some readers, and the same to others. */
const FIELDS = new Set(['payload', 'protected', 'header', 'signature']);
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;

/**
 * Throws `Refused` for what is no JWS of one signature.
 * @see https://github.com/notaryproject/specifications/blob/main/specs/signature-envelope-jws.md
 */
export function readJws(bytes: Uint8Array, most: number): Envelope {
  const json = parseStrictObject(bytes, 'it', most);
  const unknown = Object.keys(json).find((name) => !FIELDS.has(name));
  if (unknown !== undefined) {
    throw refuse('malformed', { why: TEXTS.unknownField({ name: unknown }) });
  }
  const [head, payload] = [
    asText(json['protected'], 'protected'),
    asText(json['payload'], 'payload'),
  ];
  const attributes = readAttributes(
    parseStrictObject(decode(head, 'protected'), 'protected', most),
  );
  const header = asObject(json['header'], 'header');
  const list: readonly unknown[] = Array.isArray(header['x5c']) ? header['x5c'] : [];
  const chain = readChain(list.map((each) => asBytes(each, 'x5c')));
  const token = header[TIMESTAMP];
  return {
    payload: decode(payload, 'payload'),
    signed: Buffer.from(`${head}.${payload}`),
    signature: decode(asText(json['signature'], 'signature'), 'signature'),
    algorithm: {
      named: String(attributes.get('alg')),
      wanted: algorithmOf(chain[0].key).name,
    },
    attributes,
    chain,
    ...(token !== undefined && { timestamp: asBytes(token, TIMESTAMP) }),
  };
}

function readAttributes(json: Readonly<Record<string, unknown>>): Map<string, unknown> {
  return new Map(
    Object.entries(json).map(([name, value]) => [name, TIMES.has(name) ? asTime(value) : value]),
  );
}

function asTime(value: unknown): Date | undefined {
  return typeof value === 'string' && TIME.test(value) ? new Date(value) : undefined;
}

/** Other spellings of the same bytes are refused. */
function decode(text: string, what: string): Buffer {
  const bytes = Buffer.from(text, 'base64url');
  if (text !== '' && bytes.toString('base64url') === text) return bytes;
  throw refuse('malformed', { why: TEXTS.noBase64({ what }) });
}
