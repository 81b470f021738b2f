import type { Argument, Command, Option } from 'commander';
import { CommandLine } from '../../../src/cli/command-line.ts';
import { createProgram } from '../../../src/cli/command-lines.ts';

/** Every command with its arguments, options and examples, as `--help` has them. */
export function commandsPage(): string {
  const output = { writeOut: () => {}, writeErr: () => {} };
  const program = createProgram(output, () => async () => {});
  return program.commands.map((command) => describe(command)).join('\n');
}

function describe(command: Command): string {
  if (!(command instanceof CommandLine)) return '';
  const { path, commands, examples } = command;
  const own = [
    `## \`${path}\``,
    sentence(command.description()),
    ['```sh', ...examples, '```'].join('\n'),
    tableOf(command),
  ];
  return [...own.filter((part) => part !== ''), ...commands.map(describe)].join('\n\n');
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function tableOf(command: CommandLine): string {
  const { visibleArguments, visibleOptions } = bound(command);
  const rows = [
    ...visibleArguments.map((each) => [argumentTerm(each), describeValue(each)]),
    ...visibleOptions.map((each) => [each.flags, describeValue(each)]),
  ];
  // A group of commands has none of its own.
  if (rows.length === 0) return '';
  const lines = rows.map(([term = '', text = '']) => `| \`${term}\` | ${cell(text)} |`);
  return [`| of \`${command.name()}\` | |`, '| --- | --- |', ...lines].join('\n');
}

function bound(command: CommandLine) {
  const help = command.createHelp();
  const { registeredArguments: visibleArguments } = command;
  const visibleOptions = help.visibleOptions(command).filter(({ long }) => long !== '--help');
  return { visibleArguments, visibleOptions };
}

function argumentTerm(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
  return argument.required ? `<${name}>` : `[${name}]`;
}

function describeValue({ description, argChoices, defaultValue }: Argument | Option): string {
  const choices = argChoices ? `: ${argChoices.map((choice) => `\`${choice}\``).join(', ')}` : '';
  const usual = ['string', 'number'].includes(typeof defaultValue) ? ` (\`${defaultValue}\`)` : '';
  return `${description}${choices}${usual}`;
}

function cell(text: string): string {
  return text.replaceAll('|', String.raw`\|`).replaceAll(/(?<!`)([<>*])/g, String.raw`\$1`);
}
