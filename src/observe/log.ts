import { pino, type Logger } from 'pino';

export type Log = Logger;

/**
 * JSON lines. Nothing here logs headers; the paths below catch what an error or a library might
 * carry along.
 */
export function createLog(options: { level?: string } = {}): Log {
  return pino({
    name: 'entrepot',
    level: options.level ?? 'info',
    base: {},
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: {
      paths: ['*.authorization', '*.headers.authorization', '*.password', 'err.cause.headers'],
      censor: '[redacted]',
    },
  });
}
