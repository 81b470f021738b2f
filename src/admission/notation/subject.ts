import type { ASN1Obj } from '@sigstore/core';
import { formatSubjectName, type SubjectName } from '../../config/subject-name.ts';

/** Whom a certificate names; `undefined` where it says so in a way that cannot be compared. */
export type Subject = SubjectName | undefined;

const SUBJECT = 5;
const NAMES: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.5': 'SERIALNUMBER',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'STREET',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.17': 'POSTALCODE',
};
const UTF8_STRING = 12;
const TEXT_TYPES = new Set([UTF8_STRING, 19, 22]);
const UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Of the part of a certificate that is signed. Attributes that no rule can name are passed over. */
export function readSubject({ subs }: ASN1Obj): Subject {
  const subject = new Map<string, string>();
  // Its version may be left out; then it has no extensions, and no rule can be met.
  for (const part of subs[SUBJECT]?.subs ?? []) {
    const [attribute, other] = part.subs;
    const [type, value] = attribute?.subs ?? [];
    const name = NAMES[type?.toOID() ?? ''];
    const text = value && textOf(value);
    if (other) return undefined;
    if (name === undefined) continue;
    if (text === undefined || subject.has(name)) return undefined;
    subject.set(name, text);
  }
  return subject;
}

export function formatSubject(subject: Subject): string {
  return subject ? formatSubjectName(subject) : '?';
}

function textOf({ tag, value }: ASN1Obj): string | undefined {
  if (!tag.isUniversal() || !TEXT_TYPES.has(tag.number)) return undefined;
  try {
    return UTF_8.decode(value);
  } catch {
    return undefined;
  }
}
