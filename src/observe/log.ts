import { pino, type Logger } from 'pino';

export type Log = Logger;

/** Most characters that wait while nothing can be written: lines after these are lost. */
const MAX_WAITING = 1024 * 1024;

/**
 * JSON lines on stdout, written in batches while an earlier write is under way. Nothing here logs
 * headers; the paths below catch what an error of a library might carry along. They are exact: a
 * wildcard would be looked for in every line.
 */
export function createLog(options: { level?: string } = {}): Log {
  return pino(
    {
      name: 'entrepot',
      level: options.level ?? 'info',
      base: {},
      timestamp: formatTime,
      redact: {
        paths: ['err.headers', 'err.options', 'err.cause.headers', 'err.cause.options'],
        censor: '[redacted]',
      },
    },
    openStdout(),
  );
}

let formatted = { ms: 0, text: '' };

/** Many lines fall into one millisecond. */
function formatTime(): string {
  const ms = Date.now();
  if (ms !== formatted.ms) formatted = { ms, text: `,"time":"${new Date(ms).toISOString()}"` };
  return formatted.text;
}

/**
 * A log that cannot be written ends nothing: the terminal is gone, or the disk is full and may have
 * room again. At the end of the process the rest of such a log is not waited for.
 */
function openStdout() {
  const stdout = pino.destination({ dest: 1, sync: false, maxLength: MAX_WAITING });
  stdout.on('error', () => {
    // Both try again for ever.
    stdout.flush = () => undefined;
    stdout.flushSync = () => undefined;
  });
  return stdout;
}
