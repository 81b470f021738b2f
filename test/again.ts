// npm run test:again -- COUNT FILE…: runs these suites so many times in a row, beside a busy loop, and says
// which tests failed how often, and why.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

const AVA = join(import.meta.dirname, '..', 'node_modules', '.bin', 'ava');

const [count, ...files] = process.argv.slice(2);
const load = new Worker('for (;;);', { eval: true });
const failures = new Map<string, number>();
let rounds = 0;
for (; rounds < Number(count); rounds += 1) {
  for (const failure of await run()) failures.set(failure, (failures.get(failure) ?? 0) + 1);
}
await load.terminate();
for (const [failure, times] of failures) process.stdout.write(`${times} × ${failure}\n`);
process.stdout.write(`${files.join(' ')}: ${rounds} rounds, ${failures.size} tests failed\n`);
process.exitCode = failures.size === 0 && rounds > 0 ? 0 : 1;

async function run(): Promise<string[]> {
  const { promise, resolve } = Promise.withResolvers<string[]>();
  execFile(process.execPath, [AVA, ...files], { maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
    const said = `${stdout}\n${stderr}`.split('\n').filter((line) => !/^ {2}✔ /u.test(line));
    if (error) process.stdout.write(`${said.join('\n')}\n`);
    const lines = said.filter((line) => /^ {2}[✘×] /u.test(line));
    resolve(error && lines.length === 0 ? ['no test ran'] : lines.map((line) => line.trim()));
  });
  return promise;
}
