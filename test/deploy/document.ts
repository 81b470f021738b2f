import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface Command {
  /** One line, or several where the shell needs more of them. */
  readonly text: string;
  /** In the document, from one. */
  readonly line: number;
  /** That it must exit with: another one than 0 is told as `# exits with N` at its end. */
  readonly code: number;
}

export interface Block {
  readonly commands: readonly Command[];
  /** What they print together, where the document shows it in a block of text right below. */
  readonly output?: string;
}

/** The fences of `sh`, each with the fence of `text` that follows it and nothing between. */
const FENCES = /^```sh\n(?<shell>.*?)^```$(?:\n\n```text\n(?<output>.*?)^```$)?/gms;

/** What a document tells its reader to type. */
export function readBlocks(path: string): Block[] {
  const text = readFileSync(path, 'utf8');
  return [...text.matchAll(FENCES)].map(({ index, groups }) => {
    const line = text.slice(0, index).split('\n').length + 1;
    const output = groups!['output'];
    return {
      commands: readCommands(groups!['shell']!, line),
      ...(output !== undefined && { output }),
    };
  });
}

/** Words that are others at each run: digests, ids, times, sizes, and the widths of columns that follow. */
export function withoutChance(output: string): string {
  return output
    .replaceAll(/\bsha256:[0-9a-f]{12,64}\b/g, 'DIGEST')
    .replaceAll(/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, 'ID')
    .replaceAll(/\bbundle-[0-9a-f]{8}-/g, 'bundle-ID-')
    .replaceAll(/\b\d+(?:\.\d+)? (?:B|[KMGT]iB)\b(?:\/s)?/g, 'SIZE')
    .replaceAll(/\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?\b/g, 'TIME')
    .replaceAll(/\bjust now\b|\b\d+ (?:second|minute|hour|day)s? ago\b/g, 'AGO')
    .replaceAll(/\b\d+(?:\.\d+)? ?(?:ms|s|seconds?|minutes?)\b/g, 'TIME')
    .replaceAll(/ {2,}/g, '  ')
    .replaceAll(/ +$/gm, '')
    .trim();
}

function readCommands(shell: string, first: number): Command[] {
  const commands: Command[] = [];
  let lines: string[] = [];
  for (const [at, line] of shell.trimEnd().split('\n').entries()) {
    if (lines.length === 0 && /^\s*(?:#|$)/.test(line)) continue;
    lines.push(line);
    const text = lines.join('\n');
    if (!isComplete(text)) continue;
    const [, code = '0'] = /# exits with (\d+)\b.*$/.exec(text) ?? [];
    commands.push({ text, line: first + at + 1 - lines.length, code: Number(code) });
    lines = [];
  }
  if (lines.length > 0)
    throw new SyntaxError(`the shell waits for more after: ${lines.join('\n')}`);
  return commands;
}

/** Of a document that has no end yet the shell only warns. */
function isComplete(text: string): boolean {
  if (text.endsWith('\\')) return false;
  const { status, stderr } = spawnSync('bash', ['-n', '-c', text], { encoding: 'utf8' });
  return status === 0 && stderr === '';
}
