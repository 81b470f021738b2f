import type { Environment } from '../config/source.ts';

/** All that a command may touch of the process it runs in. */
export interface CommandContext {
  readonly env: Environment;
  readonly cwd: string;
  /** Of the user that it runs as, where the system has such numbers. */
  readonly uid?: number | undefined;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly signals: Signals;
  /** Ends the process at once, whatever is open. */
  readonly exit: (code: number) => void;
}

export interface Output {
  /** A terminal, where a line can be rewritten. */
  readonly isTTY?: boolean;
  /** Of the terminal. */
  readonly columns?: number;
  write(text: string): unknown;
}

export interface Signals {
  on(signal: StopSignal, listener: (signal: StopSignal) => void): unknown;
  off(signal: StopSignal, listener: (signal: StopSignal) => void): unknown;
}

export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';
