import { EventEmitter } from 'node:events';
import { createServer } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { CommandLine } from '../../src/cli/command-line.ts';
import { createProgram } from '../../src/cli/command-lines.ts';
import { runCommand } from '../../src/cli/program.ts';
import { SigningKey } from '../../sync/bundle/signing-key.ts';
import { createFolder } from '../config/config-folder.ts';
import { claimPort } from '../helpers/claim-port.ts';
import { serve } from '../helpers/serve.ts';
import { matchGolden } from './golden.ts';

/** One line of every command, as its help shows it. */
const LINES = linesOf(createProgram({}, () => async () => {}));
/** They ask no server, or go on until they are stopped. */
const ALONE =
  /^(?:serve|doctor|clients|config|completion|sync daemon|bundle keygen|bundle inspect|trust refresh)\b/;

function linesOf(command: CommandLine): string[] {
  const below = command.commands.filter((each) => each instanceof CommandLine);
  if (below.length > 0) return below.flatMap(linesOf);
  const [line = ''] = command.examples;
  return [line.replace(/^entrepot | >.*/g, '')];
}

/** That examples name. */
const KEY = SigningKey.generate().format();

async function tell(t: ExecutionContext, line: string, yaml: string): Promise<string> {
  const output = { stdout: '', stderr: '' };
  const cwd = createFolder(t, { 'entrepot.yaml': yaml, 'maker.key': KEY });
  const words = (line.match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replaceAll('"', ''));
  const code = await runCommand(words, {
    env: {},
    cwd,
    stdout: { write: (text: string) => (output.stdout += text) },
    stderr: { write: (text: string) => (output.stderr += text) },
    signals: new EventEmitter(),
    kill: () => t.fail('the command must not end the process'),
  });
  if (words.includes('--json')) t.notThrows(() => void JSON.parse(output.stdout || output.stderr));
  const { stdout, stderr } = output;
  const told = `$ entrepot ${line}\n${stdout}${stderr === '' ? '' : `--- stderr\n${stderr}`}--- exit ${code}\n\n`;
  return told
    .replaceAll(cwd, 'FOLDER')
    .replaceAll(/127\.0\.0\.1:\d+/g, '127.0.0.1:PORT')
    .replaceAll(/"(\w+At)": (?:\d+|"[^"]*")/g, '"$1": TIME');
}

async function tellAll(t: ExecutionContext, lines: readonly string[], yaml: string) {
  const told = [];
  for (const line of lines)
    told.push(await tell(t, line, yaml), await tell(t, `${line} --json`, yaml));
  return told.join('');
}

const asking = LINES.filter((line) => !ALONE.test(line));

test('what every command says where no server runs, and there is no store', async (t) => {
  const yaml = `admin: 127.0.0.1:${await claimPort()}\nstore: { path: ./none }\n`;
  matchGolden(t, 'no-server.txt', await tellAll(t, asking, yaml));
});

test('what every command says where another program has the address', async (t) => {
  const { host } = await serve(
    t,
    createServer((_, response) => response.end('<h1>hello</h1>')),
  );
  const told = await tellAll(t, asking, `admin: ${host}\nstore: { path: ./none }\n`);
  t.deepEqual([...new Set(told.match(/^--- exit .*/gm))], ['--- exit 1']);
  matchGolden(t, 'wrong-server.txt', told);
});

test('what every command says of a configuration that is wrong in two places', async (t) => {
  const reading = LINES.filter(
    (line) =>
      !/^(?:completion|config schema|bundle keygen|bundle inspect|trust refresh)\b/.test(line),
  );
  const told = await tellAll(t, reading, 'admim: 127.0.0.1:1\nstore: { maxBytes: much }\n');
  t.deepEqual([...new Set(told.match(/^--- exit .*/gm))], ['--- exit 78']);
  matchGolden(t, 'wrong-config.txt', told);
});
