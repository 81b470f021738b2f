import { PREFIX } from './envelope.ts';
import { refuse } from './refuse.ts';
import { TEXTS } from './texts.ts';

/** How somebody signed, and when by their own word. Times are milliseconds since 1970. */
export interface Signing {
  readonly scheme: Scheme;
  readonly at: number;
  /** From then on the signature counts no longer. */
  readonly ends?: number;
}

/** A signing authority is believed the time that it names. */
export type Scheme = 'notary.x509' | 'notary.x509.signingAuthority';

const SCHEME = `${PREFIX}signingScheme`;
const EXPIRY = `${PREFIX}expiry`;
const TIME_OF: Readonly<Record<Scheme, string>> = {
  'notary.x509': `${PREFIX}signingTime`,
  'notary.x509.signingAuthority': `${PREFIX}authenticSigningTime`,
};
const KNOWN = [SCHEME, EXPIRY, ...Object.values(TIME_OF)];
const PLUGIN = `${PREFIX}verificationPlugin`;

/**
 * Throws `Refused` where an attribute is missing, does not go with the others, is not said to be critical, or
 * is critical and unknown here; and where a plug-in is asked for, since there are none.
 * @see https://github.com/notaryproject/specifications/blob/main/specs/signature-specification.md#signed-attributes
 */
export function readSigning(attributes: ReadonlyMap<string, unknown>): Signing {
  const scheme = readScheme(attributes.get(SCHEME));
  if ([...attributes.keys()].some((name) => name.startsWith(PLUGIN))) {
    throw refuse('critical', { why: TEXTS.plugin });
  }
  const isAuthority = scheme === 'notary.x509.signingAuthority';
  const other = TIME_OF[isAuthority ? 'notary.x509' : 'notary.x509.signingAuthority'];
  if (attributes.has(other)) {
    throw refuse('malformed', { why: TEXTS.otherTime({ name: other, scheme }) });
  }
  const hasEnd = attributes.has(EXPIRY);
  checkCritical(attributes, [
    SCHEME,
    ...(isAuthority ? [TIME_OF[scheme]] : []),
    ...(hasEnd ? [EXPIRY] : []),
  ]);
  const at = readTime(attributes, TIME_OF[scheme]);
  if (!hasEnd) return { scheme, at };
  const ends = readTime(attributes, EXPIRY);
  if (ends <= at) throw refuse('malformed', { why: TEXTS.endsBefore });
  return { scheme, at, ends };
}

function readScheme(scheme: unknown): Scheme {
  if (typeof scheme === 'string' && Object.hasOwn(TIME_OF, scheme)) return scheme as Scheme;
  throw refuse('scheme', { scheme: String(scheme) });
}

function checkCritical(attributes: ReadonlyMap<string, unknown>, needed: readonly string[]): void {
  const list: unknown = attributes.get('crit');
  const critical: readonly unknown[] = Array.isArray(list) ? list : [];
  for (const name of needed) {
    if (!critical.includes(name)) throw refuse('critical', { why: TEXTS.notCritical({ name }) });
  }
  for (const [at, each] of critical.entries()) {
    const name = KNOWN.find((known) => known === each);
    if (name === undefined) {
      throw refuse('critical', { why: TEXTS.unknownCritical({ name: String(each) }) });
    }
    if (!attributes.has(name) || critical.indexOf(name) !== at) {
      throw refuse('critical', { why: TEXTS.absentCritical({ name }) });
    }
  }
}

function readTime(attributes: ReadonlyMap<string, unknown>, name: string): number {
  const time = attributes.get(name);
  const at = time instanceof Date ? time.getTime() : Number.NaN;
  if (Number.isNaN(at)) throw refuse('malformed', { why: TEXTS.noTime({ name }) });
  return at;
}
