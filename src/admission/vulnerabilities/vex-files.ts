import { HeldFiles } from '../../config/held-files.ts';
import { readTextFile } from '../../config/source.ts';
import type { Log } from '../../observe/log.ts';
import { parseBoundedJson } from './bounded-json.ts';
import { readVex } from './read-vex.ts';
import { TEXTS } from './texts.ts';
import type { JudgedImage, VexStatement } from './vex.ts';

const BOUNDS = { depth: 32, items: 200_000 };

/**
 * VEX documents that the operator names, read again when they change, of at most 1 MiB each. While one
 * cannot be used, all count as they were; of those that never could be, nothing is lifted.
 */
export class VexFiles {
  readonly #files: HeldFiles<readonly object[]> | undefined;

  constructor(paths: readonly string[], log: Log) {
    if (paths.length === 0) return;
    this.#files = new HeldFiles({
      paths,
      value: [],
      read: () => paths.map(parse),
      failed: (reason) => log.error({ reason }, 'what lifts vulnerabilities stays as it was'),
      renewed: () => log.info({ files: paths }, 'what lifts vulnerabilities is read again'),
    });
  }

  /** What they say of the image. */
  about(image: JudgedImage): readonly VexStatement[] {
    return (this.#files?.current ?? []).flatMap((document) => {
      const reading = readVex(document, image);
      return reading.kind === 'statements' ? reading.statements : [];
    });
  }
}

/** Throws with the path. */
function parse(path: string): object {
  const parsed = parseBoundedJson(Buffer.from(readTextFile(path)), BOUNDS);
  const value = parsed.kind === 'object' ? parsed.value : {};
  const reading = readVex(value, { name: '', digests: [] });
  if (reading.kind === 'refused') throw new Error(TEXTS.vexFile({ path, reason: reading.reason }));
  return value;
}
