import { styleText, type InspectColor } from 'node:util';
import type { Environment } from '../config/source.ts';

/** As Node itself decides: FORCE_COLOR before NO_COLOR before what the output is. */
export function hasColours({ isTTY }: { readonly isTTY?: boolean }, env: Environment): boolean {
  const { FORCE_COLOR: forced, NO_COLOR: none, TERM: terminal } = env;
  if (forced !== undefined) return !['0', 'false'].includes(forced);
  return isTTY === true && !none && terminal !== 'dumb';
}

/** The words that say how something is, where one of them begins a cell or a line. */
const STATES: readonly (readonly [style: InspectColor, words: readonly string[]])[] = [
  [
    'green',
    ['ok', 'up', 'ready', 'complete', 'held', 'active', 'fetched again', 'admitted', 'counts'],
  ],
  [
    'yellow',
    ['warning', 'suspect', 'offline', 'late', 'partial', 'stale', 'full', 'unlisted', 'lifted'],
  ],
  [
    'red',
    [
      'failed',
      'failing',
      'down',
      'missing',
      'damaged',
      'not fetched again',
      'login refused',
      'refused',
      'does not count',
    ],
  ],
  ['gray', ['skipped', 'unknown']],
];
const STYLES = new Map(STATES.flatMap(([style, words]) => words.map((word) => [word, style])));
const STATE = new RegExp(
  `(?<=^| {2}|^store )(?:${[...STYLES.keys()].join('|')})(?= {2}|$|[,:]| since )`,
  'gm',
);
/** A line of words in capitals. */
const HEADING = /^ {0,2}[A-Z]+(?: +[A-Z]+)*$/gm;

/** The headings and states of a text for people in colours; it is as wide as it was. */
export function paint(text: string): string {
  return text
    .replaceAll(HEADING, (heading) => styled('bold', heading))
    .replaceAll(STATE, (word) => styled(STYLES.get(word) ?? 'reset', word));
}

/** Whether to show them was decided by `hasColours`. */
export function styled(style: InspectColor, text: string): string {
  return styleText(style, text, { validateStream: false });
}
