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

/** What every command takes. */
export interface CommandOptions {
  readonly config?: string;
  readonly json?: boolean;
}

export const FILE_OPTION = [
  '-c, --config <file>',
  'configuration; else $ENTREPOT_CONFIG, else ./entrepot.yaml',
] as const;

export const JSON_OPTION = ['--json', 'print JSON'] as const;

/** The answer of a command: with `--json` its document, else the text for people. */
export function print(
  { json }: CommandOptions,
  context: Pick<CommandContext, 'stdout'>,
  answer: { readonly document: unknown; readonly text: () => string },
): void {
  if (json) printJson(answer.document, context);
  else context.stdout.write(answer.text());
}

export function printJson(document: unknown, { stdout }: Pick<CommandContext, 'stdout'>): void {
  stdout.write(`${JSON.stringify(document, undefined, 2)}\n`);
}
