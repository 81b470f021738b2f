import { statSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { TEXTS } from './texts.ts';

export interface HeldFilesParts<Value> {
  readonly paths: readonly string[];
  /**
   * What is looked at besides, also folders, of which an entry that comes or goes is seen; `read` judges it, and
   * may change what stands here.
   */
  readonly places?: readonly string[];
  /** What they said when the configuration was read; else they are read when they are first wanted. */
  readonly value?: Value;
  /** Reads them. What it throws is told, and must hold no secret. */
  readonly read: () => Value;
  /** Told once of files that cannot be used, until they can be again. */
  readonly failed: (reason: string) => void;
  /** Told what they say now. */
  renewed(value: Value): void;
}

/** More than any secret, and four times the public authorities of all systems together. */
const MAX_BYTES = 1024 * 1024;

/**
 * What files say that may be replaced while the process runs, such as a secret or a certificate. Nothing
 * watches them: whoever wants the value has them looked at, which costs a `stat` each, and read only when
 * that has changed; links are followed, of which Kubernetes swaps one. While a file is missing, half
 * written or longer than 1 MiB, the value of before stands.
 */
export class HeldFiles<Value> {
  readonly #parts: HeldFilesParts<Value>;
  #held: { readonly value: Value } | undefined;
  #stamp: string | undefined;
  #isBroken = false;
  /** A pipe gives what it holds once. */
  readonly #isLasting: boolean;

  constructor(parts: HeldFilesParts<Value>) {
    this.#parts = parts;
    if ('value' in parts) this.#held = { value: parts.value };
    this.#isLasting = parts.paths.every(isLasting);
  }

  /** The same object as before while the files say the same. Throws only when there never was a value. */
  get current(): Value {
    const stamp = this.#isLasting || !this.#held ? this.#look() : this.#stamp;
    return this.#held && stamp === this.#stamp ? this.#held.value : this.#read(stamp);
  }

  /** Reads them whether they look changed or not: for a value that was refused. */
  again(): Value {
    return this.#isLasting || !this.#held ? this.#read(this.#look()) : this.#held.value;
  }

  #read(stamp: string | undefined): Value {
    this.#stamp = stamp;
    try {
      const unusable = this.#parts.paths.find((path) => !isUsable(path));
      if (unusable !== undefined) throw new Error(TEXTS.unusable({ path: unusable }));
      const value = this.#parts.read();
      const isNew = this.#held && !isDeepStrictEqual(value, this.#held.value);
      if (!this.#held || isNew) this.#held = { value };
      if (isNew || this.#isBroken) this.#parts.renewed(value);
      this.#isBroken = false;
    } catch (error) {
      if (!this.#held) throw error;
      if (!this.#isBroken) this.#parts.failed((error as Error).message);
      this.#isBroken = true;
    }
    return this.#held.value;
  }

  #look(): string {
    const { paths, places = [] } = this.#parts;
    return [...paths, ...places].map(stampOf).join(' ');
  }
}

function stampOf(path: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(':');
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}

/** What is not there is said by who reads it. */
function isUsable(path: string): boolean {
  const file = statSync(path, { throwIfNoEntry: false });
  return !file || (file.isFile() && file.size <= MAX_BYTES);
}

function isLasting(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() !== false;
}
