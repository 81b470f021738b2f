import { EventEmitter } from 'node:events';
import test from 'ava';
import type { Command } from 'commander';
import { createProgram } from '../../src/cli/command-lines.ts';
import { runCommand } from '../../src/cli/program.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { matchGolden } from './golden.ts';

/** Every command by its words. */
const COMMANDS = wordsOf(createProgram({}, () => async () => {}));

function wordsOf(command: Command, above: readonly string[] = []): string[][] {
  const below = command.commands.flatMap((each) => wordsOf(each, [...above, each.name()]));
  return [[...above], ...below];
}

const WRONG = [
  ['nonsense'],
  ['ls', '--limit', '0'],
  ['ls', '--sort', 'age'],
  ['gc', '--bytes', 'much'],
  ['explain'],
  ['pin'],
  ['pin', 'a', '--in-use', 'b'],
  ['pin', 'a', '--source', 'b'],
  ['pin', '--in-use', 'missing'],
  ['clients'],
  ['clients', 'nonsense'],
  ['clients', 'docker', '--address', 'mirror.example/path'],
  ['clients', 'docker'],
  ['sync', 'nonsense'],
  ['sync', 'plan', '--locked', 'missing'],
  ['config', 'check', '--config', 'missing.yaml'],
  ['config', 'check', '--config', 'missing.yaml', '--json'],
];

async function run(args: readonly string[]): Promise<string> {
  const output = { stdout: '', stderr: '' };
  const code = await runCommand(args, {
    env: {},
    cwd: '/nowhere',
    stdout: { write: (text: string) => (output.stdout += text) },
    stderr: { write: (text: string) => (output.stderr += text) },
    signals: new EventEmitter(),
    kill: () => undefined,
  });
  const { stdout, stderr } = output;
  return `$ entrepot ${args.join(' ')}\n${stdout}${stderr === '' ? '' : `--- stderr\n${stderr}`}--- exit ${code}\n\n`;
}

test('the help of every command', async (t) => {
  const told = [];
  for (const command of COMMANDS) told.push(await run([...command, '--help']));
  matchGolden(t, 'help.txt', told.join(''));
});

test('what is said of a command line that is wrong', async (t) => {
  const told = [];
  for (const command of WRONG) told.push(await run(command));
  matchGolden(t, 'usage.txt', told.join(''));
});

test('the schema of the configuration, and what is in force without a file', async (t) => {
  matchGolden(t, 'config-schema.txt', await run(['config', 'schema']));
  matchGolden(t, 'config-defaults.txt', await run(['config', 'check']));
});

test('the metrics: name, type, help and labels', (t) => {
  const declared = new Metrics().registry.getMetricsAsArray() as unknown as {
    name: string;
    help: string;
    labelNames: string[];
    type: string;
  }[];
  const lines = declared.map(
    (metric) => `${metric.name}{${metric.labelNames.join(',')}} ${metric.type}: ${metric.help}\n`,
  );
  matchGolden(t, 'metrics.txt', lines.toSorted().join(''));
});
