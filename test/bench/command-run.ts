import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';

const LOOK_MS = 20;

export interface CommandRun {
  readonly seconds: number;
  /** The most resident memory that was seen. */
  readonly peakMiB: number;
}

/** A command to its end, which must be a good one. */
export async function runCommand(command: string, ...args: string[]): Promise<CommandRun> {
  const begun = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let peakMiB = 0;
  const look = setInterval(() => (peakMiB = Math.max(peakMiB, peakOf(child.pid))), LOOK_MS);
  try {
    const [[code], problems] = await Promise.all([
      once(child, 'exit') as Promise<[number | null]>,
      text(child.stderr),
    ]);
    if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${code}\n${problems}`);
    return { seconds: (performance.now() - begun) / 1000, peakMiB };
  } finally {
    clearInterval(look);
  }
}

/** Nothing once it has ended. */
function peakOf(pid: number | undefined): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}
