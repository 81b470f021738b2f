import { ConfigError } from './problems.ts';
import { TEXTS } from './texts.ts';

/** Whom a certificate names, by the short names of attributes. */
export type SubjectName = ReadonlyMap<string, string>;

const PREFIX = 'x509.subject:';
const MANDATORY = ['C', 'ST', 'O'];
const TYPES = new Set(MANDATORY.concat('L', 'OU', 'CN', 'SERIALNUMBER', 'STREET', 'POSTALCODE'));
/** One attribute and the comma behind it: `O=Example\, Inc.`; a backslash stands before what has a meaning. */
const ATTRIBUTE = /\s*([A-Za-z]+)\s*=\s*((?:[^\\,;+"<>]|\\[ ,;+"<>=#\\])+?)\s*(?:,|$)/y;

/**
 * A trusted identity of Notation: "x509.subject: C=US, ST=WA, O=Example, CN=release". Throws a `ConfigError`
 * for what is none, and for "*": it would be whoever has a certificate of any authority in the stores.
 * @see https://github.com/notaryproject/specifications/blob/main/specs/trust-store-trust-policy.md#trusted-identities-constraints
 */
export function parseSubjectName(text: string): SubjectName {
  const names = new Map<string, string>();
  ATTRIBUTE.lastIndex = text.startsWith(PREFIX) ? PREFIX.length : text.length;
  while (ATTRIBUTE.lastIndex < text.length) {
    const [, written = '', value = ''] = ATTRIBUTE.exec(text) ?? [];
    const type = written.toUpperCase() === 'S' ? 'ST' : written.toUpperCase();
    // What begins with "#" is bytes and no text.
    if (!TYPES.has(type) || names.has(type) || value.startsWith('#')) throw fault(text);
    names.set(type, value.replaceAll(/\\(.)/g, '$1'));
  }
  if (text.endsWith(',') || MANDATORY.some((type) => !names.has(type))) throw fault(text);
  return names;
}

/** As `parseSubjectName` reads it. */
export function formatSubjectName(name: SubjectName): string {
  const written = [...name].map(([type, value]) => {
    const escaped = value.replaceAll(/[,;+"<>\\]|^[ #]| $/g, (character) => `\\${character}`);
    return `${type}=${escaped}`;
  });
  return `${PREFIX} ${written.join(', ')}`;
}

/** Whether all that is asked is so: what is not asked may be anything. */
export function isSubjectOf(asked: SubjectName, name: SubjectName): boolean {
  return [...asked].every(([type, value]) => name.get(type) === value);
}

function fault(text: string): ConfigError {
  return new ConfigError([TEXTS.admissionSubjectName({ value: text })]);
}
