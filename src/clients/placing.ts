import { isDeepStrictEqual } from 'node:util';
import { addLists, takeLists, type ListRecord } from './json-lists.ts';
import { withoutMarked, withoutOrigin, type Origin } from './marks.ts';
import { merge } from './merge.ts';
import type { NodeFiles } from './node-files.ts';
import type { ClientFile } from './recipe.ts';
import { Refusal } from './refusal.ts';
import { TEXTS } from './texts.ts';

/** What becomes of one file; `text` left out: it goes. */
interface Edit {
  readonly path: string;
  readonly text: string | undefined;
}

/** What was done to a file that ours is in, or was. */
export interface PlacedFile {
  readonly path: string;
  readonly change: 'written' | 'unchanged' | 'removed' | 'restored';
}

/** A file that was left as it is, and what to do about it by hand. */
export interface RefusedFile {
  readonly path: string;
  readonly reason: string;
  /** What to bring into it. */
  readonly content?: string;
}

export interface Placement {
  readonly files: readonly PlacedFile[];
  /** With any of these nothing was changed. */
  readonly refused: readonly RefusedFile[];
}

interface Plan extends PlacedFile {
  readonly edits: readonly Edit[];
  /** To go, where they are empty by then. */
  readonly emptied: number;
}

/** Of `daemon.json`; it must not end as the files that are read there do. */
const RECORD = '.entrepot';
const EMPTY_OBJECT = '{\n}\n';

/** Puts files in place and takes out what `places` has of an earlier recipe: all of it, or nothing. */
export function place(
  files: readonly ClientFile[],
  places: readonly string[],
  node: NodeFiles,
): Placement {
  const paths = new Set(files.map(({ path }) => path));
  const stale = findOurs(places, node).filter((path) => !paths.has(path));
  const steps = [
    ...files.map((file) => ({ ...file, plan: () => planWrite(file, node) })),
    ...stale.map((path) => ({ path, plan: () => planRemoval(path, node) })),
  ];
  return carryOut(steps, node);
}

/** Takes out all that `places` has of ours. */
export function displace(places: readonly string[], node: NodeFiles): Placement {
  for (const place of places) node.removeDrafts(place);
  const steps = findOurs(places, node).map((path) => ({
    path,
    plan: () => planRemoval(path, node),
  }));
  return carryOut(steps, node);
}

function findOurs(places: readonly string[], node: NodeFiles): string[] {
  const found = places.flatMap((place) => node.list(place));
  return [...new Set(found)].toReversed().filter((path) => {
    try {
      return path.endsWith('.json') ? readRecord(path, node) : withoutMarked(node.read(path) ?? '');
    } catch (error) {
      // Not ours, or half of it is: the latter is told when it comes to be planned.
      if (error instanceof Refusal) return error.message === TEXTS.brokenMarks;
      throw error;
    }
  });
}

interface Step {
  readonly path: string;
  readonly content?: string;
  readonly plan: () => Plan;
}

function carryOut(steps: readonly Step[], node: NodeFiles): Placement {
  const plans: Plan[] = [];
  const refused: RefusedFile[] = [];
  for (const { path, content, plan } of steps) {
    try {
      plans.push(plan());
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      refused.push({ path, reason: error.message, ...(content !== undefined && { content }) });
    }
  }
  if (refused.length > 0) return { files: [], refused };
  for (const { path, text } of plans.flatMap(({ edits }) => edits)) {
    if (text === undefined) node.remove(path);
    else node.write(path, text);
  }
  for (const { path, emptied } of plans) node.removeEmptyFolders(path, emptied);
  return { files: plans.map(({ path, change }) => ({ path, change })), refused };
}

function planWrite(file: ClientFile, node: NodeFiles): Plan {
  const { path } = file;
  const wanted = file.format === 'json' ? listEdits(file, node) : markedEdits(file, node);
  const edits = wanted.filter((edit) => edit.text !== node.read(edit.path));
  return { path, change: edits.length === 0 ? 'unchanged' : 'written', edits, emptied: 0 };
}

/** None where the operator wrote the same by hand. */
function markedEdits(file: ClientFile, node: NodeFiles): Edit[] {
  const { path, content } = file;
  const text = node.read(path);
  const ours = text === undefined ? undefined : withoutMarked(text);
  if (text !== undefined && !ours && text.includes(content)) return [];
  const { text: before, newFolders } = ours ?? originOf(text, path, node);
  // A new file that others have written into since is theirs.
  const origin = { text: before, newFolders: before === undefined ? newFolders : 0 };
  return [{ path, text: merge(origin, file) }];
}

function originOf(text: string | undefined, path: string, node: NodeFiles): Origin {
  return { text, newFolders: text === undefined ? node.countMissingFolders(path) : 0 };
}

/** The record comes first: what it tells of and is not there needs nothing when it is taken out. */
function listEdits({ path, content }: ClientFile, node: NodeFiles): Edit[] {
  const lists = JSON.parse(content) as Record<string, readonly unknown[]>;
  const record = readRecord(path, node);
  const text = node.read(path);
  const before = record && text !== undefined ? withoutLists(text, record) : text;
  const start = before ?? EMPTY_OBJECT;
  const { text: after, pieces } = addLists(start, lists);
  if (takeLists(after, pieces) !== start) throw new Refusal(TEXTS.cannotMerge);
  // None where all of it is there by hand, or stands where an editor has moved it to.
  if (pieces.length === 0)
    return [
      { path, text: before },
      { path: `${path}${RECORD}`, text: undefined },
    ];
  if (record && isDeepStrictEqual(tryJson(text ?? ''), tryJson(after))) return [];
  const isNew = before === undefined;
  const newFolders = isNew ? (record?.newFolders ?? node.countMissingFolders(path)) : 0;
  const told = { about: TEXTS.recordAbout, isNew, newFolders, pieces };
  return [
    // Killed before the next one, what is left is the operator's, and an old record that tells of nothing.
    { path, text: before },
    { path: `${path}${RECORD}`, text: `${JSON.stringify(told, undefined, 2)}\n` },
    { path, text: after },
  ];
}

function planRemoval(path: string, node: NodeFiles): Plan {
  const text = node.read(path);
  if (path.endsWith('.json')) return planListRemoval(path, text, node);
  const { text: before, newFolders } = withoutMarked(text ?? '') ?? { text, newFolders: 0 };
  const change = before === undefined ? 'removed' : 'restored';
  return { path, change, edits: [{ path, text: before }], emptied: newFolders };
}

function planListRemoval(path: string, text: string | undefined, node: NodeFiles): Plan {
  const record = readRecord(path, node);
  const before = record && text !== undefined ? withoutLists(text, record) : text;
  const isKept = before === text ? [] : [{ path, text: before }];
  return {
    path,
    change: before === undefined ? 'removed' : 'restored',
    edits: [...isKept, { path: `${path}${RECORD}`, text: undefined }],
    emptied: before === undefined ? (record?.newFolders ?? 0) : 0,
  };
}

/** What the file was before; `undefined` for a new file that nobody else wrote into. */
function withoutLists(text: string, { isNew, pieces }: ListRecord): string | undefined {
  const before = takeLists(text, pieces);
  return isNew && /^\s*\{\s*\}\s*$/.test(before) ? undefined : before;
}

function readRecord(path: string, node: NodeFiles): ListRecord | undefined {
  const text = node.read(`${path}${RECORD}`);
  if (text === undefined) return undefined;
  const record = tryJson(text) as Partial<ListRecord> | undefined;
  if (!Array.isArray(record?.pieces))
    throw new Refusal(TEXTS.brokenRecord({ path: `${path}${RECORD}` }));
  return record as ListRecord;
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Whether anything of ours is in the file, as far as it can be read. */
export function hasOurs(path: string, node: NodeFiles): boolean {
  return findOurs([path], node).length > 0;
}

/** Whether ours is there as it would be written now. */
export function isInPlace(file: ClientFile, node: NodeFiles): boolean {
  try {
    const { edits } = planWrite(file, node);
    // What the operator wrote into a file of ours changes what the mark tells of it, and nothing else.
    return edits.every(
      ({ path, text = '' }) => withoutOrigin(text) === withoutOrigin(node.read(path) ?? ''),
    );
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}
