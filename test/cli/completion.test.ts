import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { SHELLS } from '../../src/cli/command-lines.ts';
import { printCompletion, type Shell } from '../../src/cli/completion.ts';
import { createProgram } from '../../src/cli/command-lines.ts';
import { createFolder } from '../config/config-folder.ts';
import { missingPackages, testUnless } from '../helpers/needs.ts';

const PROGRAM = createProgram({ writeOut: () => {}, writeErr: () => {} }, () => async () => {});

/** What is asked of each shell, as its own completion would; `words` are quoted for it. */
const QUESTIONS: Readonly<Record<Shell, (words: readonly string[]) => string[]>> = {
  bash: (words) => [
    '--norc',
    '-c',
    `source ./script; COMP_WORDS=(${words.map(quoted).join(' ')}); COMP_CWORD=${words.length - 1}
    _entrepot; printf '%s\\n' "\${COMPREPLY[@]}"`,
  ],
  // Outside of a line editor its own functions have to be stood in for.
  zsh: (words) => [
    '-f',
    '-c',
    `PREFIX=${quoted(words.at(-1) ?? '')}; words=(${words.map(quoted).join(' ')}); CURRENT=${words.length}
    compadd() { shift; print -rl -- "\${(@M)@:#$PREFIX*}" }
    _files() { print -rl -- $PREFIX*(N) }
    source ./script; _entrepot`,
  ],
  fish: (words) => ['--no-config', '-c', `source ./script; complete -C ${quoted(words.join(' '))}`],
};

function quoted(word: string): string {
  return `'${word}'`;
}

function complete(t: ExecutionContext, shell: Shell, line: string): string[] {
  const cwd = createFolder(t, { 'site.yaml': '' });
  let script = '';
  printCompletion(PROGRAM, shell, { stdout: { write: (text) => (script += text) } });
  writeFileSync(join(cwd, 'script'), script);
  const env = { ...process.env, HOME: cwd };
  const told = execFileSync(shell, QUESTIONS[shell](line.split(' ')), {
    cwd,
    env,
    encoding: 'utf8',
  });
  const words = told.split('\n').map((each) => each.replace(/\t.*/, ''));
  return [...new Set(words.filter((word) => word !== ''))].toSorted();
}

const COMMANDS = [...PROGRAM.commands.map((command) => command.name()), 'help'].toSorted();

for (const shell of SHELLS) {
  const testShell = testUnless(`completion of ${shell}`, missingPackages(shell));
  for (const [line, words] of [
    ['entrepot ', COMMANDS],
    ['entrepot sy', ['sync']],
    ['entrepot sync ', ['daemon', 'help', 'plan', 'run', 'status']],
    ['entrepot sync status --a', ['--all']],
    ['entrepot ls --so', ['--sort']],
    ['entrepot ls --json --sort ', ['name', 'oldest', 'pulls', 'size']],
    ['entrepot ls --sort o', ['oldest']],
    ['entrepot clients k', ['k3s', 'kaniko']],
    ['entrepot completion ', ['bash', 'fish', 'zsh']],
    ['entrepot serve --config si', ['site.yaml']],
    ['entrepot ls --limit ', []],
  ] as const) {
    testShell(`${shell}: "${line}" is completed`, (t) => {
      t.deepEqual(complete(t, shell, line), [...words]);
    });
  }
}
