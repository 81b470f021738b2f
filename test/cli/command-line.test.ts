import { EventEmitter } from 'node:events';
import test from 'ava';
import { createProgram } from '../../src/cli/command-lines.ts';
import type { CommandLine } from '../../src/cli/command-line.ts';
import { runCommand } from '../../src/cli/program.ts';

function treeOf(command: CommandLine): CommandLine[] {
  return [command, ...command.commands.flatMap((below) => treeOf(below as CommandLine))];
}

function createTree(): CommandLine {
  return createProgram({ writeOut: () => {}, writeErr: () => {} }, () => async () => {});
}

/** The words of a line as a shell gives them to a program. */
function wordsOf(line: string): string[] {
  const [program, ...words] = line.replace(/ [<>] .*/, '').match(/"[^"]*"|\S+/g) ?? [];
  if (program !== 'entrepot') throw new Error(`no line of entrepot: ${line}`);
  return words.map((word) => word.replaceAll('"', ''));
}

async function problemsOf(args: readonly string[]): Promise<string[]> {
  const program = createTree();
  await program.parseAsync(args, { from: 'user' });
  return program.problems.map(({ text }) => text);
}

for (const command of treeOf(createTree())) {
  test(`the examples of ${command.path} are lines that it takes`, async (t) => {
    t.true(command.examples.length > 0);
    for (const example of command.examples) {
      t.true(example.startsWith(command.path), example);
      // Help ends commander by an error.
      if (example.startsWith('entrepot help')) continue;
      t.deepEqual(await problemsOf(wordsOf(example)), [], example);
    }
  });
}

for (const [line, problems] of [
  [
    'entrepot ls --srot size --limit 0 a b --nope=1',
    [
      '--limit 0: write a whole number from 1 to 100000',
      '--srot: there is no such option; did you mean --sort?',
      '--nope: entrepot ls has no such option; leave it out',
      'b: entrepot ls takes 1 argument at most; leave it out, or quote what belongs together',
    ],
  ],
  [
    'entrepot pin a --in-use b --source c --reason d --nope',
    [
      '--nope: entrepot pin has no such option; leave it out',
      'write either an image with its reason, or --in-use with a file',
    ],
  ],
  [
    'entrepot explain --confg a.yaml --config',
    [
      '-c, --config <file>: its value is missing; write it behind',
      '--confg: there is no such option; did you mean --config?',
      '<image> is missing; write it behind "entrepot explain"',
    ],
  ],
  [
    'entrepot sync daemon a --all',
    [
      '--server <url> is missing: its admin API, such as http://127.0.0.1:5001',
      '--all: entrepot sync daemon has no such option; leave it out',
      'a: entrepot sync daemon takes no arguments; leave it out, or quote what belongs together',
    ],
  ],
  [
    'entrepot --json --limit 3 ls',
    [
      '--json: options stand behind their command; write "entrepot ls --json"',
      '--limit: options stand behind their command; write "entrepot ls --limit"',
    ],
  ],
  ['entrepot verfy', ['verfy: there is no such command; did you mean "entrepot verify"?']],
  [
    'entrepot sync frobnicate',
    ['frobnicate: there is no such command; "entrepot sync --help" lists those there are'],
  ],
] as const) {
  test(`all that is wrong with "${line}" is told at once`, async (t) => {
    t.deepEqual(await problemsOf(wordsOf(line)), problems);
  });
}

test('nothing is done while anything is wrong with the line, and JSON tells it as JSON', async (t) => {
  let output = '';
  const code = await runCommand(['ls', '--limit', '0', '--nope', '--json'], {
    env: {},
    cwd: '/nowhere',
    stdout: { write: (text: string) => (output += text) },
    stderr: { write: (text: string) => (output += text) },
    signals: new EventEmitter(),
    kill: () => t.fail('the command must not end the process'),
  });
  t.is(code, 64);
  t.deepEqual(JSON.parse(output), {
    error: '2 problems in the command line',
    problems: [
      '--limit 0: write a whole number from 1 to 100000',
      '--nope: entrepot ls has no such option; leave it out',
    ],
  });
});
