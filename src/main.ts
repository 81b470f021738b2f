#!/usr/bin/env node
import { runCommand } from './cli/program.ts';

// A reader that closes the pipe early, such as head, is no error.
for (const output of [process.stdout, process.stderr]) {
  output.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

// Set, not called: what is still to be written gets out before the process ends.
process.exitCode = await runCommand(process.argv.slice(2), {
  env: process.env,
  cwd: process.cwd(),
  uid: process.getuid?.(),
  stdout: process.stdout,
  stderr: process.stderr,
  signals: process,
  exit: (code) => process.exit(code),
});
