import { isDeepStrictEqual } from 'node:util';
import { Refusal } from './refusal.ts';
import { TEXTS } from './texts.ts';

type Lists = Readonly<Record<string, readonly unknown[]>>;

/** A piece of text that was put into a JSON file: whole lists, or elements of one. */
interface Piece {
  readonly list: string;
  readonly values: readonly unknown[];
  readonly text: string;
}

/** JSON has no comments: what was put into a file is recorded beside it. */
export interface ListRecord {
  readonly isNew: boolean;
  readonly newFolders: number;
  readonly pieces: readonly Piece[];
}

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\]]|[^\s"{}[\],:]+|[,:]/g;

/** Puts what is missing of these lists before what they have; the rest of the text stays as it is. */
export function addLists(text: string, lists: Lists): { text: string; pieces: Piece[] } {
  const before = parseObject(text);
  const pieces: Piece[] = [];
  let after = text;
  // Each goes to the front.
  for (const [list, wanted] of Object.entries(lists).toReversed()) {
    const had = before[list] ?? [];
    if (!Array.isArray(had)) throw new Refusal(TEXTS.notAList({ list }));
    const values = wanted.filter((value) => !had.includes(value));
    if (values.length === 0) continue;
    const at = list in before ? listStart(after, list) : after.indexOf('{') + 1;
    const piece = list in before ? elements(values, had) : member(list, values, after.slice(at));
    after = after.slice(0, at) + piece + after.slice(at);
    pieces.push({ list, values, text: piece });
  }
  return { text: after, pieces };
}

/** Takes out what was put in, wherever it stands now; what is gone already needs nothing. */
export function takeLists(text: string, pieces: readonly Piece[]): string {
  let rest = text;
  for (const piece of pieces.toReversed()) rest = takePiece(rest, piece);
  return rest;
}

function takePiece(text: string, { list, values, text: piece }: Piece): string {
  const before = parseObject(text);
  const had = before[list];
  if (!Array.isArray(had) || !values.some((value) => had.includes(value))) return text;
  const kept = had.filter((value) => !values.includes(value));
  const isWhole = piece.trimStart().startsWith(`${JSON.stringify(list)}:`) && kept.length === 0;
  const { [list]: _, ...others } = before;
  const wanted = [...(isWhole ? [others] : []), { ...before, [list]: kept }];
  for (const value of wanted) {
    const rest = cuts(text, piece, values).find((cut) => isDeepStrictEqual(tryParse(cut), value));
    if (rest !== undefined) return rest;
  }
  const shown = values.map((value) => JSON.stringify(value)).join(', ');
  throw new Refusal(TEXTS.editedList({ list, values: shown }));
}

/** The text without the piece, wherever that stands; who edited around it may have moved its comma. */
function cuts(text: string, piece: string, values: readonly unknown[]): string[] {
  const bare = piece.replace(/,\s*$/, '');
  return [piece, bare, elements(values, [])].flatMap((part) => {
    const places = [...text.matchAll(new RegExp(RegExp.escape(part), 'g'))];
    return places.flatMap(({ index }) => {
      const [ahead, behind] = [text.slice(0, index), text.slice(index + part.length)];
      return [
        ahead + behind,
        ahead + behind.replace(/^\s*,\s*/, ''),
        ahead.replace(/,\s*$/, '') + behind,
      ];
    });
  });
}

function elements(values: readonly unknown[], had: readonly unknown[]): string {
  const text = values.map((value) => JSON.stringify(value)).join(', ');
  return had.length > 0 ? `${text}, ` : text;
}

/** With the indent of the member that it comes before. */
function member(list: string, values: readonly unknown[], behind: string): string {
  const [space = ''] = /^\s*/.exec(behind) ?? [];
  const isLast = behind.slice(space.length).startsWith('}');
  const lead = space.includes('\n') ? (isLast ? '\n  ' : space) : '';
  const tail = isLast ? '' : lead === '' ? ', ' : ',';
  return `${lead}${JSON.stringify(list)}: [${values.map((value) => JSON.stringify(value)).join(', ')}]${tail}`;
}

/** Behind the bracket of a list of the outermost object. */
function listStart(text: string, list: string): number {
  let depth = 0;
  let key: string | undefined;
  const starts: number[] = [];
  let last = '';
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    if (token === ':' && depth === 1) key = JSON.parse(last) as string;
    if (token === '[' && depth === 1 && key === list) starts.push(index + 1);
    if (token === '{' || token === '[') depth += 1;
    if (token === '}' || token === ']') depth -= 1;
    last = token;
  }
  const [at] = starts;
  if (at === undefined || starts.length > 1) throw new Refusal(TEXTS.notAList({ list }));
  return at;
}

function parseObject(text: string): Record<string, unknown> {
  const value = tryParse(text);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new Refusal(TEXTS.notAnObject);
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
