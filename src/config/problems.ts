import type { z } from 'zod';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

const EXPECTED: Readonly<Record<string, string>> = {
  boolean: 'write true or false',
  string: 'write text',
  number: 'write a number',
  int: 'write a whole number',
  array: 'write a list',
  object: 'write a map',
};

/** What to write in place of a value of another type; zod asks before it words an issue itself. */
export function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'invalid_type') return EXPECTED[issue.expected];
  if (issue.code === 'unrecognized_keys') {
    return `unknown key; known here: ${knownKeys(issue.inst).join(', ')}`;
  }
  return undefined;
}

function knownKeys(schema: unknown): string[] {
  const { shape } = (schema as z.core.$ZodObject)._zod.def;
  return Object.keys(shape).filter((key) => shape[key]?._zod.def.type !== 'undefined');
}

/** One line a problem: the path in the file, and what to write instead. */
export function describeProblems(issues: readonly Issue[], above: Path = []): string[] {
  return issues.flatMap((issue) => {
    const path = [...above, ...issue.path];
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => describeProblem([...path, key], issue.message));
    }
    const branch = issue.code === 'invalid_union' ? branchMeant(issue.errors) : undefined;
    return branch ? describeProblems(branch, path) : [describeProblem(path, issue.message)];
  });
}

/** The form of a union whose type the value has: its problems are the ones to tell. */
function branchMeant(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  return branches.find((issues) =>
    issues.every((issue) => issue.code !== 'invalid_type' || issue.path.length > 0),
  );
}

function describeProblem(path: Path, message: string): string {
  return path.length === 0 ? message : `${formatPath(path)}: ${message}`;
}

/** `upstreams.ghcr.io.hosts[0]`, as an operator would say it. */
export function formatPath(path: Path): string {
  return path
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
    .join('')
    .replace(/^\./, '');
}
