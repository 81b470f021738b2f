import { pino, type Logger } from 'pino';

export type Log = Logger;

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
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: ['err.headers', 'err.options', 'err.cause.headers', 'err.cause.options'],
        censor: '[redacted]',
      },
    },
    pino.destination({ dest: 1, sync: false }),
  );
}
