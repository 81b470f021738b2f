// npm run test:peers: real clients in one lane; kills, small disks and what waits for clocks in another one beside
// it. What the second lane says comes when it is done.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

const AVA = join(import.meta.dirname, '..', 'node_modules', '.bin', 'ava');
const CLIENTS = ['test/e2e/!(observed).test.ts'];
const OTHERS = ['test/e2e/observed.test.ts', 'test/crash', 'test/disks', 'test/soak'];

const codes = await Promise.all([run(CLIENTS, false), run(OTHERS, true)]);
process.exitCode = codes.every((code) => code === 0) ? 0 : 1;

/** Ends with the code of ava. */
async function run(files: readonly string[], isHeldBack: boolean): Promise<number | null> {
  const child = spawn(process.execPath, [AVA, '--concurrency=1', ...files], {
    stdio: ['ignore', isHeldBack ? 'pipe' : 'inherit', 'inherit'],
  });
  const exited = once(child, 'exit') as Promise<[number | null]>;
  if (child.stdout) process.stdout.write(await text(child.stdout));
  const [code] = await exited;
  return code;
}
