import {
  chmodSync,
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  globSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
  type Stats,
} from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { NEW_MODE } from './recipe.ts';
import { Refusal } from './refusal.ts';
import { TEXTS } from './texts.ts';

/** Of a path; more are a circle. */
const MAX_LINKS = 40;
/** A file of settings is small; what is larger is something else. */
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * The files of a node, whose file system stands below `root`. Links are followed as the node follows them: an
 * absolute one starts at `root`, and none leads out of it.
 */
export class NodeFiles {
  readonly #root: string;

  constructor(root: string) {
    this.#root = realpathSync(root);
  }

  /** `undefined` where there is none. Throws a `Refusal` for what is no text of at most 4 MiB. */
  read(path: string): string | undefined {
    const file = this.#resolve(path);
    const found = statOf(file);
    if (!found) return undefined;
    if (found.isDirectory()) throw new Refusal(TEXTS.isFolder);
    if (!found.isFile() || found.size > MAX_BYTES) throw new Refusal(TEXTS.noTextFile);
    try {
      const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
      const text = decoder.decode(readFileSync(file));
      if (!text.includes('\u{0}')) return text;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
    throw new Refusal(TEXTS.noTextFile);
  }

  /** Whether something stands at this path. */
  has(path: string): boolean {
    return statOf(this.#resolve(path)) !== undefined;
  }

  /** The paths that a pattern with `*` means; sorted. */
  list(pattern: string): string[] {
    if (!pattern.includes('*')) return this.has(pattern) ? [pattern] : [];
    const fixed = pattern.slice(0, pattern.lastIndexOf('/', pattern.indexOf('*')));
    const folder = this.#resolve(fixed);
    const found = globSync(pattern.slice(fixed.length + 1), { cwd: folder });
    return found.map((path) => join(fixed, path)).toSorted();
  }

  /** How many folders of the path of this file are not there. */
  countMissingFolders(path: string): number {
    let folder = dirname(this.#resolve(path));
    let count = 0;
    for (; !statOf(folder); folder = dirname(folder)) count += 1;
    return count;
  }

  /**
   * Old or new, whenever it is killed: written beside it under another name, and moved there once it is on
   * the disk. Keeps mode and owner of what was there.
   */
  write(path: string, text: string): void {
    const file = this.#resolve(path);
    const before = statOf(file);
    makeFolders(dirname(file));
    const draft = draftOf(file);
    rmSync(draft, { force: true });
    const open = openSync(draft, 'wx', NEW_MODE);
    try {
      writeFileSync(open, text);
      const { uid, gid } = statSync(draft);
      if (before && (before.uid !== uid || before.gid !== gid))
        fchownSync(open, before.uid, before.gid);
      fchmodSync(open, before ? before.mode & 0o7777 : NEW_MODE);
      fsyncSync(open);
    } finally {
      closeSync(open);
    }
    renameSync(draft, file);
    syncFolder(dirname(file));
  }

  /** With the draft of a write that was killed. */
  remove(path: string): void {
    const file = this.#resolve(path);
    rmSync(draftOf(file), { force: true });
    if (!statOf(file)) return;
    rmSync(file);
    syncFolder(dirname(file));
  }

  /** Of writes to files like this one that were killed. */
  removeDrafts(pattern: string): void {
    for (const path of this.list(draftOf(pattern))) this.remove(path);
  }

  /** How many folders of the path of a file, the innermost first, as far as they are empty. */
  removeEmptyFolders(path: string, count: number): void {
    let folder = dirname(this.#resolve(path));
    for (let left = count; left > 0 && folder !== this.#root; left -= 1) {
      try {
        rmdirSync(folder);
      } catch (error) {
        const { code = '' } = error as NodeJS.ErrnoException;
        if (['ENOTEMPTY', 'EEXIST', 'EBUSY'].includes(code)) return;
        if (code !== 'ENOENT') throw error;
      }
      folder = dirname(folder);
    }
  }

  /** Where a path of the node is on this machine. */
  #resolve(path: string): string {
    const rest = path.split('/');
    let links = 0;
    let at = this.#root;
    while (rest.length > 0) {
      const name = rest.shift()!;
      if (name === '' || name === '.') continue;
      if (name === '..') {
        if (relative(this.#root, at) !== '') at = dirname(at);
        continue;
      }
      const target = linkAt(join(at, name));
      if (target === undefined) {
        at = join(at, name);
        continue;
      }
      links += 1;
      if (links > MAX_LINKS) throw new Refusal(TEXTS.linksInCircle);
      if (target.startsWith('/')) at = this.#root;
      rest.unshift(...target.split('/'));
    }
    return at;
  }
}

function draftOf(file: string): string {
  return join(dirname(file), `.${basename(file)}.entrepot`);
}

function linkAt(path: string): string | undefined {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found?.isSymbolicLink() ? readlinkSync(path) : undefined;
}

/** Never of a link: all of them are resolved before. */
function statOf(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    // A file stands where a folder would be.
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined;
    throw error;
  }
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** For everybody to read, whatever the mask of who runs this: clients of other users look for files below. */
function makeFolders(folder: string): void {
  const first = mkdirSync(folder, { recursive: true });
  if (first === undefined) return;
  for (let made = folder; made.length >= first.length; made = dirname(made)) chmodSync(made, 0o755);
}
