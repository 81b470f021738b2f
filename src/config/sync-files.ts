import { globSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { ConfigError } from './config-error.ts';
import { isGlob } from './glob.ts';
import { readTextFile } from './text-file.ts';
import { parseYaml } from './yaml.ts';

/** A file of rules as it stands. */
export interface SyncFile {
  /** As messages call it: relative to the configuration where it is below it. */
  readonly name: string;
  readonly document: unknown;
}

/**
 * The files of a path, or of a glob in order of their names. Throws a `ConfigError` with every
 * problem, a glob without a file among them: rules that are lost would release what they held.
 */
export function readSyncFiles(pattern: string, directory: string): SyncFile[] {
  const paths = isGlob(pattern)
    ? globSync(pattern, { cwd: directory }).map((path) => resolve(directory, path))
    : [resolve(directory, pattern)];
  if (paths.length === 0) {
    throw new ConfigError([`no file matches ${pattern}; add one, or take the entry out`]);
  }
  const problems: string[] = [];
  const files = paths.toSorted().flatMap((path) => {
    const below = relative(directory, path);
    const name = below.startsWith('..') ? path : below;
    try {
      return [{ name, document: parseYaml(readTextFile(path)) }];
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      problems.push(
        ...error.problems.map((text) => (text.includes(path) ? text : `${name}: ${text}`)),
      );
      return [];
    }
  });
  if (problems.length > 0) throw new ConfigError(problems);
  return files;
}
