import { TEXTS } from '../texts.ts';

export interface AskCloudOptions {
  /** One line of what the library threw. */
  readonly tell: (error: unknown) => string;
  /** Aborts when the mirror closes. */
  readonly closing?: AbortSignal | undefined;
}

const LIMIT_MS = 10_000;

/**
 * Asks a cloud by its own library, for ten seconds at most. What the library throws holds requests
 * and answers, secrets among them: only one line of it is told, in an error without a cause.
 */
export async function askCloud<Value>(
  ask: (signal: AbortSignal) => Promise<Value>,
  { tell, closing }: AskCloudOptions,
): Promise<Value> {
  const limit = new AbortController();
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new Error(TEXTS.cloudSilent({ seconds: LIMIT_MS / 1000 })));
    limit.abort();
  }, LIMIT_MS);
  const close = (): void => {
    late.reject(closing?.reason);
    limit.abort();
  };
  closing?.addEventListener('abort', close, { once: true });
  if (closing?.aborted) close();
  try {
    return await Promise.race([ask(limit.signal), late.promise]);
  } catch (error) {
    // oxlint-disable-next-line preserve-caught-error -- whoever logs a cause logs its secrets
    throw new Error(tell(error));
  } finally {
    clearTimeout(timer);
    closing?.removeEventListener('abort', close);
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
