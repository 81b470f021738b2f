import { repeated } from './problems.ts';
import { findNear } from './spelling.ts';
import { TEXTS } from './texts.ts';

/** What other registries have for those who upload and remove. */
const PUSHES = new Set(['push', 'write', 'upload', 'delete']);

/** What to write in place of one entry of a list of a rule. */
export const RULE_WORDS = {
  who: (written: unknown, kinds: readonly string[]): string =>
    advise(written, (text) => whoMeant(text, kinds), TEXTS.accessWhoEach),
  from: (written: unknown): string => advise(written, () => undefined, TEXTS.accessFromEach),
  may: (written: unknown, verbs: readonly string[]): string =>
    typeof written === 'string' && PUSHES.has(written.toLowerCase())
      ? TEXTS.accessMayPush
      : advise(written, (text) => findNear(text, verbs), TEXTS.accessMayEach),
};

/** An entry that may be a password is not repeated. */
function advise(
  written: unknown,
  meant: (text: string) => string | undefined,
  usual: string,
): string {
  if (typeof written !== 'string' || written === '' || repeated(written) === '…') return usual;
  const right = meant(written);
  const advice = right === undefined ? usual : TEXTS.writeName({ name: right });
  return TEXTS.notThis({ advice, text: written });
}

/** A name without a kind is a user. */
function whoMeant(text: string, kinds: readonly string[]): string | undefined {
  const colon = text.indexOf(':');
  if (colon === -1) return findNear(text, ['anonymous']) ?? `user:${text}`;
  const [kind, name] = [text.slice(0, colon), text.slice(colon + 1)];
  const near = findNear(kind, kinds);
  return near === undefined || name === '' ? undefined : `${near}:${name}`;
}
