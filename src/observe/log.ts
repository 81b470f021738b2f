import { pino, type DestinationStream, type Logger } from 'pino';
import { escapeObeyed, lineForPeople } from './line-for-people.ts';

export type Log = Logger;

/** JSON for programs; lines for people, with or without colours. */
export type LogFormat = 'json' | 'plain' | 'colour';

export interface LogOptions {
  /** What is below it is left out. */
  readonly level?: 'debug' | 'info' | 'warn' | 'error' | 'silent';
  readonly format?: LogFormat;
  /** Standard output unless given. */
  readonly destination?: DestinationStream;
}

const NAME = 'entrepot';
/** Lines gather for so long, or until they are so many characters: each write is work of its own. */
const GATHER_MS = 10;
const MAX_GATHERED = 16 * 1024;
/** Most characters that wait while nothing can be written: lines after these are lost. */
const MAX_WAITING = 1024 * 1024;

/** How the log of a process looks: the one place that decides. */
export function logFormatOf(
  { isTTY = false }: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>>,
): LogFormat {
  if (!isTTY) return 'json';
  // https://no-color.org
  return env['NO_COLOR'] || env['TERM'] === 'dumb' ? 'plain' : 'colour';
}

/**
 * Lines on stdout, written in batches while an earlier write is under way. Nothing here logs
 * headers; the paths below catch what an error of a library might carry along. They are exact: a
 * wildcard would be looked for in every line.
 */
export function createLog({ level = 'info', format = 'json', destination }: LogOptions = {}): Log {
  const output = destination ?? openStdout();
  return pino(
    {
      name: NAME,
      level,
      base: {},
      formatters: { level: (word) => ({ level: word }) },
      // JSON leaves some of what a terminal obeys as it is.
      hooks: { streamWrite: (line) => `${escapeObeyed(line.slice(0, -1))}\n` },
      timestamp: formatTime,
      redact: {
        paths: ['err.headers', 'err.options', 'err.cause.headers', 'err.cause.options'],
        censor: '[redacted]',
      },
    },
    format === 'json' ? output : forPeople(output, format),
  );
}

/**
 * As `log.info`, a line for each request: what it says is text and numbers, which no redaction of errors is for.
 * It takes a fifth of the time.
 */
export function logFacts(log: Log, facts: object, message: string): void {
  if (!log.isLevelEnabled('info')) return;
  const told = JSON.stringify(facts).slice(1, -1);
  const line = `{"level":"info"${formatTime()},"name":"${NAME}",${told},"msg":"${message}"}`;
  (log as unknown as Streamed)[pino.symbols.streamSym].write(`${escapeObeyed(line)}\n`);
}

interface Streamed {
  readonly [pino.symbols.streamSym]: DestinationStream;
}

let formatted = { ms: 0, text: '' };

/** Many lines fall into one millisecond. */
function formatTime(): string {
  const ms = Date.now();
  if (ms !== formatted.ms) formatted = { ms, text: `,"time":"${new Date(ms).toISOString()}"` };
  return formatted.text;
}

function forPeople(output: DestinationStream, format: LogFormat): DestinationStream {
  const write = (json: string): void => {
    const line = JSON.parse(json) as Readonly<Record<string, unknown>>;
    output.write(`${lineForPeople(line, format === 'colour')}\n`);
  };
  return { write };
}

/**
 * A log that cannot be written ends nothing: the terminal is gone, or the disk is full and may have
 * room again. At the end of the process the rest of such a log is not waited for.
 */
function openStdout(): DestinationStream {
  const contentMode = 'buffer';
  const stdout = pino.destination({ dest: 1, sync: false, maxLength: MAX_WAITING, contentMode });
  let gathered = '';
  let timer: NodeJS.Timeout | undefined;
  const send = (): void => {
    clearTimeout(timer);
    timer = undefined;
    const lines = gathered;
    gathered = '';
    // As bytes, which its types do not know: of text, all that waits is measured anew for each piece.
    if (lines !== '') stdout.write(Buffer.from(lines) as never);
  };
  // The process ends with one of them.
  const [flush, flushSync] = [stdout.flush.bind(stdout), stdout.flushSync.bind(stdout)];
  stdout.flush = (...given) => {
    send();
    flush(...given);
  };
  stdout.flushSync = () => {
    // Else it begins a write that the end of the process cuts off.
    Object.assign(stdout, { minLength: MAX_WAITING });
    send();
    flushSync();
  };
  stdout.on('error', () => {
    // Both try again for ever.
    stdout.flush = () => undefined;
    stdout.flushSync = () => undefined;
  });
  return {
    write: (line) => {
      gathered += line;
      if (gathered.length >= MAX_GATHERED) send();
      else timer ??= setTimeout(send, GATHER_MS).unref();
    },
  };
}
