/** What stands in place of a secret. */
export const REDACTED = '(hidden)';

const SHAPES: readonly (readonly [RegExp, string])[] = [
  // The query of a URL, which may be signed, and a name and password in it.
  [/(\bhttps?:\/\/[^\s?"'<>]*)\?[^\s"'<>]*/gi, `$1?${REDACTED}`],
  [/(\bhttps?:\/\/)[^\s/@"'<>]*@/gi, `$1${REDACTED}@`],
  [/\b(bearer|basic)\s+[\w+/=.~-]{8,}/gi, `$1 ${REDACTED}`],
  // Tokens that this mirror makes.
  [/\bent_[a-z0-9]{12}_[\w-]{20,}/g, REDACTED],
  [/\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?/g, REDACTED],
  [
    /\b((?:x-(?:amz|goog)-)?(?:signature|credential|security-token)|sig|(?:\w+_)?token|password|passwd|(?:\w+_)?secret)(["']?\s*(?:=\s*["']?|:\s*["']?(?=[^\s&"',;]{12})))[^\s&"',;]+/gi,
    `$1$2${REDACTED}`,
  ],
];

/** What one of the shapes begins or goes on with; most texts have none of it. */
const SUSPECT = /[=:?@]|eyJ|ent_|bearer|basic/i;

/** A text of others without what looks like a secret wherever it stands, whether it is one of ours or not. */
export function redact(text: string): string {
  if (!SUSPECT.test(text)) return text;
  let redacted = text;
  for (const [shape, replacement] of SHAPES) redacted = redacted.replaceAll(shape, replacement);
  return redacted;
}
