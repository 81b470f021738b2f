import * as z from 'zod';
import { TEXTS } from './texts.ts';

/** All problems of a configuration; each begins with its path in the file. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];
  /** The file the problems are in. */
  readonly file: string | undefined;

  constructor(problems: readonly string[], options: { file?: string; cause?: unknown } = {}) {
    super(problems.join('; '), { cause: options.cause });
    this.problems = problems;
    this.file = options.file;
  }
}

type Issue = z.core.$ZodIssue;
export type Path = readonly PropertyKey[];

export interface UnknownKey {
  /** The map that it stands in. */
  readonly path: Path;
  readonly key: string;
  readonly value: unknown;
  /** The keys of that map. */
  readonly known: readonly string[];
}

const EXPECTED: Readonly<Record<string, string>> = {
  boolean: TEXTS.asBoolean,
  string: TEXTS.asText,
  number: TEXTS.asNumber,
  int: TEXTS.asWholeNumber,
  array: TEXTS.asList,
  object: TEXTS.asMap,
};

/**
 * The message of an issue: what to write in place of a value of a wrong type, and of unknown keys
 * the known ones. `undefined` leaves it to zod.
 */
export function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'invalid_type') return describeType(issue.expected, issue.input);
  if (issue.code === 'unrecognized_keys') {
    // `describeProblems` words it, which knows the place.
    return knownKeys(issue.inst).join(', ');
  }
  return undefined;
}

function describeType(expected: string, value: unknown): string | undefined {
  const advice = EXPECTED[expected];
  if (advice === undefined) return undefined;
  if (value === undefined) return TEXTS.missing({ advice });
  if (expected === 'array' && typeof value === 'string') {
    return TEXTS.listOf({ value: repeated(value) });
  }
  const needsQuotes = expected === 'string' && /^(?:number|boolean)$/.test(typeof value);
  return needsQuotes ? TEXTS.needsQuotes({ advice }) : advice;
}

/** A text as one can copy it, without what may be a password in it. */
export function repeated(value: unknown): string {
  if (typeof value !== 'string' || /[@\s]/.test(value) || value.length > 200) return '…';
  return /^[\w./][\w./:-]*$/.test(value) ? value : `'${value.replaceAll("'", "''")}'`;
}

function knownKeys(schema: unknown): string[] {
  const { shape } = schema as z.ZodObject;
  return Object.keys(shape).filter((key) => !isAlwaysAbsent(shape[key]));
}

/** Whether a key exists only to tell two forms of a union apart. */
function isAlwaysAbsent(schema: unknown): boolean {
  return schema instanceof z.ZodOptional && schema.unwrap() instanceof z.ZodUndefined;
}

/** One line a problem: the path in the file, and what to write instead. */
export function describeProblems(
  issues: readonly Issue[],
  adviseKey: (unknown: UnknownKey) => string,
  above: Path = [],
): string[] {
  return issues.flatMap((issue) => {
    const path = [...above, ...issue.path];
    if (issue.code === 'unrecognized_keys') {
      const known = issue.message.split(', ');
      const values = (issue.input ?? {}) as Readonly<Record<string, unknown>>;
      return issue.keys.map((key) =>
        describeProblem([...path, key], adviseKey({ path, key, value: values[key], known })),
      );
    }
    const branch = issue.code === 'invalid_union' ? branchMeant(issue.errors) : undefined;
    return branch
      ? describeProblems(branch, adviseKey, path)
      : [describeProblem(path, issue.message)];
  });
}

/** The problems of the first form of a union that has the value's type. */
function branchMeant(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  return branches.find((issues) =>
    issues.every((issue) => issue.code !== 'invalid_type' || issue.path.length > 0),
  );
}

export function describeProblem(path: Path, message: string): string {
  return path.length === 0 ? message : `${formatPath(path)}: ${message}`;
}

export function formatPath(path: Path): string {
  return path
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
    .join('')
    .replace(/^\./, '');
}
