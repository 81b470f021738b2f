import { Refusal } from './refusal.ts';
import { TEXTS } from './texts.ts';

const BEGIN = '# >>> entrepot clients';
const END = '# <<< entrepot clients';
const BLOCK = new RegExp(
  `^[ \\t]*${BEGIN}\\b([^\\n]*)\\n(?:(?![ \\t]*${BEGIN})[^\\n]*\\n)*?[ \\t]*${END}[ \\t\\r]*(\\n|$)`,
  'gm',
);
const NEW_FILE = /\(new file(?:, new folders: (\d+))?\)/;
const ORIGIN = new RegExp(`^([ \\t]*${BEGIN}\\b[^\\n]*?) ${NEW_FILE.source}`, 'gm');

/** What stood in a file before ours came. */
export interface Origin {
  /** `undefined`: there was no file. */
  readonly text: string | undefined;
  /** Of its path, how many folders were made for it. */
  readonly newFolders: number;
}

/** Lines between marks, in comments, which say of a new file that it is one. */
export function marked(lines: string, origin: Origin, indent = ''): string {
  const folders = origin.newFolders > 0 ? `, new folders: ${origin.newFolders}` : '';
  const made = origin.text === undefined ? ` (new file${folders})` : '';
  return `${indent}${BEGIN}: by --write, gone with --remove${made}\n${lines}${indent}${END}`;
}

/** A block behind all else. Without a line's end behind it the text before had none either. */
export function appended(text: string, block: string): string {
  return text === '' || text.endsWith('\n') ? `${text}${block}\n` : `${text}\n${block}`;
}

/** The text without what stands between marks; `undefined` where there are none. Throws a `Refusal` for half a pair. */
export function withoutMarked(text: string): Origin | undefined {
  const made = [...text.matchAll(BLOCK)].flatMap(([, told = '']) => NEW_FILE.exec(told) ?? []);
  const rest = text.replace(BLOCK, (_: string, __: string, end: string, at: number) =>
    end === '' && at > 0 ? CUT : '',
  );
  if (rest.includes(BEGIN) || rest.includes(END)) throw new Refusal(TEXTS.brokenMarks);
  if (rest === text) return undefined;
  const left = rest.replace(`\n${CUT}`, '').replace(CUT, '');
  const [mark, folders = '0'] = made;
  const isNew = mark !== undefined && left === '';
  return { text: isNew ? undefined : left, newFolders: Number(folders) };
}

/** The text as it would be if no mark said that the file is new. */
export function withoutOrigin(text: string): string {
  return text.replace(ORIGIN, '$1');
}

/** Stands for a block that took the place of a line's end; no text file has it. */
const CUT = '\u{0}';
