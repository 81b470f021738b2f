import { AsyncLocalStorage } from 'node:async_hooks';
import type { ChildProcess } from 'node:child_process';
import { channel } from 'node:diagnostics_channel';
import { kill } from 'node:process';
import { TEXTS } from '../texts.ts';

export interface AskProviderOptions {
  /** Aborts when the mirror closes. */
  readonly closing?: AbortSignal | undefined;
  readonly limitMs?: number;
}

/** Docker waits as long for a registry's small answers; a helper that asks a person takes longer anyway. */
const LIMIT_MS = 10_000;

/** The programs that are started for one question to a provider, by us or by a cloud's library. */
interface Programs {
  readonly started: ChildProcess[];
  /** Libraries go on to the next way of theirs when a program is ended. */
  isOver: boolean;
}

const asked = new AsyncLocalStorage<Programs>();

channel('tracing:child_process.spawn:start').subscribe((message) => {
  const { process, options } = message as {
    process: ChildProcess;
    options: { detached: boolean };
  };
  const programs = asked.getStore();
  if (!programs) return;
  // In a group of its own, which can be ended with whatever it starts.
  options.detached = true;
  programs.started.push(process);
  process.once('spawn', () => {
    if (programs.isOver) endGroup(process);
  });
});

/**
 * Asks what issues credentials, by our own means or a library's, for ten seconds at most, with one
 * signal. Of a question that fails, is late or is given up because the mirror closes, no program is left
 * running.
 */
export async function askProvider<Value>(
  ask: (signal: AbortSignal) => Promise<Value>,
  { closing, limitMs = LIMIT_MS }: AskProviderOptions = {},
): Promise<Value> {
  const programs: Programs = { started: [], isOver: false };
  const ending = new AbortController();
  const ended = Promise.withResolvers<never>();
  const end = (reason: unknown): void => {
    ended.reject(reason);
    ending.abort(reason);
  };
  const late = new Error(TEXTS.providerSilent({ seconds: limitMs / 1000 }));
  const timer = setTimeout(() => end(late), limitMs);
  const close = (): void => end(closing?.reason);
  closing?.addEventListener('abort', close, { once: true });
  if (closing?.aborted) close();
  try {
    const asking = asked.run(programs, async () => ask(ending.signal));
    return await Promise.race([asking, ended.promise]);
  } catch (error) {
    ending.abort(error);
    programs.isOver = true;
    for (const program of programs.started) endGroup(program);
    throw error;
  } finally {
    clearTimeout(timer);
    closing?.removeEventListener('abort', close);
  }
}

/**
 * What a cloud's library throws holds requests and answers, secrets among them: only one line of it is
 * told, in an error without a cause.
 */
export async function inOneLine<Value>(
  ask: () => Promise<Value>,
  tell: (error: unknown) => string,
): Promise<Value> {
  try {
    return await ask();
  } catch (error) {
    // oxlint-disable-next-line preserve-caught-error -- whoever logs a cause logs its secrets
    throw new Error(tell(error));
  }
}

/** The first line of an error's message, or else its code or name. */
export function firstLine(error: unknown): string {
  if (!(error instanceof Error)) return TEXTS.unknownFault;
  // Parsers quote what they could not read.
  if (error.name === 'SyntaxError') return TEXTS.notJson;
  const { code } = error as NodeJS.ErrnoException;
  const [line = ''] = error.message.trim().split(/\r?\n/, 1);
  return line || (code ?? error.name);
}

function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) kill(-pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}
