#!/usr/bin/env node
import { availableParallelism, constants } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { runCommand } from './cli/program.ts';

/** The reader has had enough, such as head, or the terminal is gone: no fault of the command. */
const READER_IS_GONE: readonly unknown[] = ['EPIPE', 'EIO'];

/*
 * Threads of libuv's pool, set before its first use: four for what waits for the disk, as Node has, and one for each
 * core for what computes (passwords, compression), so that neither keeps the other waiting. Idle ones take no memory.
 */
process.env['UV_THREADPOOL_SIZE'] ??= String(Math.min(4 + availableParallelism(), 16));

const faults: string[] = [];
for (const output of [process.stdout, process.stderr]) {
  output.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    if (READER_IS_GONE.includes(code)) return;
    faults.push(message);
    if (faults.length === 1 && output === process.stdout)
      process.stderr.write(`entrepot: ${message}\n`);
    process.exitCode = 1;
  });
}

const exitCode = await runCommand(process.argv.slice(2), {
  env: process.env,
  cwd: process.cwd(),
  uid: process.getuid?.(),
  node: process.versions.node,
  stdin: () => process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signals: process,
  kill: (signal) => {
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
    // The first process of a container gets no such signal from itself, and an exit waits for the threads of the pool.
    const code = 128 + constants.signals[signal];
    process.execve?.(process.execPath, [process.execPath, '-e', `process.exit(${code})`], {});
    process.exit(code);
  },
  // Also when the command has ended: one call that a disk never answers would keep the process for ever.
  wait: async (milliseconds) => setTimeout(milliseconds, undefined, { ref: false }),
});
// Set, not called: what is still to be written gets out before the process ends.
process.exitCode = faults.length === 0 ? exitCode : exitCode || 1;
