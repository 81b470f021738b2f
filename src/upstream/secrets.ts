import { LRUCache } from 'lru-cache';
import { REDACTED, redact } from '../observe/secret-shapes.ts';

/** Accounts with what a provider issued for each, and tokens, of which clients' scopes make many. */
const MAX_KEPT = 500;
/** More than is ever shown of what the other side says. */
const MAX_TEXT_LENGTH = 8 * 1024;
/** Shorter ones are words that our own texts may hold. */
const MIN_LENGTH_ANYWHERE = 8;

/** Shorter ones stand in what is decoded by chance. */
const MIN_CARRIED_LENGTH = 4;
/** A run of Base64 or hex that is long enough to hold a secret of four bytes. */
const ENCODED_RUN = /[\w+/-]{6,}={0,2}/g;
const HEX_RUN = /[\da-f]{8,}/gi;
/** What is encoded and encoded again. */
const MAX_DEPTH = 2;

const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  quot: '"',
  apos: "'",
  lt: '<',
  gt: '>',
};

/** Each takes one encoding off a text, of which only a part may be encoded. */
const DECODERS: readonly ((text: string) => string)[] = [
  (text) =>
    text.replaceAll(/(?:%[\da-f]{2})+/gi, (run) =>
      Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8'),
    ),
  (text) =>
    text
      .replaceAll(/\\u([\da-f]{4})/gi, (_, code: string) => String.fromCharCode(parseInt(code, 16)))
      .replaceAll(/\\(["\\/])/g, '$1'),
  (text) =>
    text
      .replaceAll(/&#x([\da-f]{1,4});/gi, (_, code: string) =>
        String.fromCharCode(parseInt(code, 16)),
      )
      .replaceAll(/&#(\d{1,5});/g, (_, code: string) => String.fromCharCode(Number(code)))
      .replaceAll(
        /&(amp|quot|apos|lt|gt);/gi,
        (_, name: string) => ENTITIES[name.toLowerCase()] ?? '',
      ),
  // The bytes of UTF-8 as headers are read.
  (text) => (/[^\0-\xff]/.test(text) ? text : Buffer.from(text, 'latin1').toString('utf8')),
];

/**
 * The secrets that one upstream is asked with. Whatever it or its token service says is told to
 * people only through here: an echo of what it was sent is hidden, as it is, and in the forms that
 * it travels in: percent-encoded, escaped as JSON or HTML, in hex, in Base64 at any place of a longer
 * text, and twice so.
 */
export class Secrets {
  readonly #kept = new LRUCache<string, readonly string[]>({ max: MAX_KEPT });

  add(secret: string): void {
    if (secret === '' || this.#kept.get(secret)) return;
    this.#kept.set(secret, formsOf(secret));
  }

  /** Words of the other side for people: without a secret, and safe in a header, a log line and a terminal. */
  tell(text: string, maxLength = 100): string {
    return printable(this.redact(text), maxLength);
  }

  /** Words of the other side without secrets, neither cut nor made printable. */
  redact(text: string): string {
    const isCut = text.length > MAX_TEXT_LENGTH;
    // What is cut in two is found no more.
    const whole = isCut ? text.slice(0, MAX_TEXT_LENGTH).replace(/\S*$/, '') : text;
    return redact(this.#redactEncoded(whole, 1));
  }

  /** Our own words, in which the other side may have had a part: a host's name, say. */
  redactOwn(text: string): string {
    return this.#redactEncoded(text, MIN_LENGTH_ANYWHERE);
  }

  #redactEncoded(text: string, minLength: number): string {
    let redacted = this.#redactPlain(text, minLength);
    let decoded = redacted;
    for (const decode of Array.from({ length: MAX_DEPTH }, () => DECODERS).flat()) {
      const before = decoded;
      decoded = decode(before);
      if (decoded === before) continue;
      const plain = this.#redactPlain(decoded, minLength);
      // Only what hides a secret is shown otherwise than it was said.
      if (plain !== decoded) redacted = decoded = plain;
    }
    return redacted;
  }

  #redactPlain(text: string, minLength: number): string {
    const redacted = this.#redactForms(text, minLength);
    const minCarried = Math.max(minLength, MIN_CARRIED_LENGTH);
    const all = [...redacted.matchAll(ENCODED_RUN)].map(([run]) => decodingsOf(run)).join(' ');
    const carried = this.#forms()
      .filter((form) => form.length >= minCarried && all.includes(form))
      .toArray();
    if (carried.length === 0) return redacted;
    return redacted.replaceAll(ENCODED_RUN, (run) => {
      const decoded = decodingsOf(run);
      return carried.some((form) => decoded.includes(form)) ? REDACTED : run;
    });
  }

  #redactForms(text: string, minLength: number): string {
    let redacted = text;
    const lower = text.toLowerCase();
    for (const form of this.#forms()) {
      if (form.length < minLength || !lower.includes(form)) continue;
      redacted = redacted.replaceAll(new RegExp(RegExp.escape(form), 'gi'), REDACTED);
    }
    return redacted;
  }

  #forms(): IteratorObject<string> {
    return this.#kept.values().flatMap((forms) => forms);
  }
}

/** The secret as it is, and as URLs, forms and JSON write it; in lower case, for a search that ignores case. */
function formsOf(secret: string): readonly string[] {
  const inForm = new URLSearchParams({ '': secret }).toString().slice(1);
  const inJson = JSON.stringify(secret).slice(1, -1);
  const forms = [secret, encodeURIComponent(secret), inForm, inJson];
  return [...new Set(forms.map((form) => form.toLowerCase()))].toSorted(
    (a, b) => b.length - a.length,
  );
}

/** What it says as Base64, from whatever place it is read, and as hex, each down to the last; in lower case. */
function decodingsOf(run: string, depth = MAX_DEPTH): string {
  const hex = run.match(HEX_RUN) ?? [];
  const decoded = [
    ...[0, 1, 2, 3].map((start) => Buffer.from(run.slice(start), 'base64')),
    ...hex.flatMap((digits) => [0, 1].map((start) => Buffer.from(digits.slice(start), 'hex'))),
  ];
  const texts = decoded.map((bytes) => bytes.toString('utf8'));
  const inner = depth === 1 ? [] : texts.flatMap((text) => text.match(ENCODED_RUN) ?? []);
  const outer = texts.join(' ').toLowerCase();
  return [outer, ...inner.map((deeper) => decodingsOf(deeper, depth - 1))].join(' ');
}

/** Safe in a header, a log line and a terminal; for names in certificates, too. */
export function printable(text: string, maxLength = 100): string {
  return text.replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, maxLength);
}
