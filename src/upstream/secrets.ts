import { LRUCache } from 'lru-cache';

const STRUCK = '(hidden)';
/** Accounts with what a provider issued for each, and tokens, of which clients' scopes make many. */
const MAX_KEPT = 500;
/** More than is ever shown of what the other side says. */
const MAX_TEXT_LENGTH = 8 * 1024;
/** Shorter ones are words that our own texts may hold. */
const MIN_LENGTH_ANYWHERE = 8;

/** What looks like a secret wherever it stands, whether it is one of ours or not. */
const SHAPES: readonly (readonly [RegExp, string])[] = [
  // The query of a URL, which may be signed, and a name and password in it.
  [/(\bhttps?:\/\/[^\s?"'<>]*)\?[^\s"'<>]*/gi, `$1?${STRUCK}`],
  [/(\bhttps?:\/\/)[^\s/@"'<>]*@/gi, `$1${STRUCK}@`],
  [/\b(bearer|basic)\s+[\w+/=.~-]{8,}/gi, `$1 ${STRUCK}`],
  [/\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?/g, STRUCK],
  [
    /\b((?:x-(?:amz|goog)-)?(?:signature|credential|security-token)|sig|(?:\w+_)?token|password|passwd|(?:\w+_)?secret)(["']?\s*(?:=\s*["']?|:\s*["']?(?=[^\s&"',;]{12})))[^\s&"',;]+/gi,
    `$1$2${STRUCK}`,
  ],
];

/** Long enough to hold a secret of four bytes. */
const BASE64_RUN = /[\w+/-]{6,}={0,2}/g;

/**
 * The secrets that one upstream is asked with. Whatever it or its token service says is told to
 * people only through here: an echo of what it was sent is struck out, as it is, and in the forms that
 * it travels in (Base64 at any place of a longer text, Basic, percent-encoded).
 */
export class Secrets {
  readonly #kept = new LRUCache<string, readonly string[]>({ max: MAX_KEPT });

  add(secret: string): void {
    if (secret === '' || this.#kept.get(secret)) return;
    this.#kept.set(secret, formsOf(secret));
  }

  /** Words of the other side without a secret, and without what looks like one. */
  strike(text: string): string {
    const isCut = text.length > MAX_TEXT_LENGTH;
    // What is cut in two is found no more.
    const whole = isCut ? text.slice(0, MAX_TEXT_LENGTH).replace(/\S*$/, '') : text;
    let struck = this.#strikeForms(whole, 1);
    struck = struck.replaceAll(BASE64_RUN, (run) => (this.#isCarrier(run) ? STRUCK : run));
    for (const [shape, replacement] of SHAPES) struck = struck.replaceAll(shape, replacement);
    return struck;
  }

  /** Our own words, in which the other side may have had a part: a host's name, say. */
  strikeOwn(text: string): string {
    return this.#strikeForms(text, MIN_LENGTH_ANYWHERE);
  }

  #strikeForms(text: string, minLength: number): string {
    let struck = text;
    for (const form of [...this.#kept.values()].flat()) {
      if (form.length < minLength || !includes(struck, form)) continue;
      struck = struck.replaceAll(new RegExp(RegExp.escape(form), 'gi'), STRUCK);
    }
    return struck;
  }

  /** Whether this is Base64 of something with a secret in it, from whatever place it is read. */
  #isCarrier(run: string): boolean {
    const decoded = [0, 1, 2, 3].map((start) =>
      Buffer.from(run.slice(start), 'base64').toString('utf8'),
    );
    const forms = [...this.#kept.values()].flat();
    return forms.some((form) => decoded.some((text) => includes(text, form)));
  }
}

/** As it is, and as URLs, forms and JSON hold it. */
function formsOf(secret: string): readonly string[] {
  const inForm = new URLSearchParams({ '': secret }).toString().slice(1);
  const inJson = JSON.stringify(secret).slice(1, -1);
  const forms = [secret, encodeURIComponent(secret), inForm, inJson];
  return [...new Set(forms)].toSorted((a, b) => b.length - a.length);
}

function includes(text: string, form: string): boolean {
  return text.toLowerCase().includes(form.toLowerCase());
}
