import { styleText } from 'node:util';

type Line = Readonly<Record<string, unknown>>;
type Style = Parameters<typeof styleText>[0];

/** Said by other words or columns already. */
const BESIDE: ReadonlySet<string> = new Set(['level', 'time', 'name', 'msg', 'err']);
/** Those of an access line that are columns, and those that only programs look for. */
const OF_REQUEST: ReadonlySet<string> = new Set(
  'client method target upstream reference status source bytes ms id trace kind agent missed ttfbMs path reason left cut'.split(
    ' ',
  ),
);

const LEVEL_STYLE: Readonly<Record<string, Style>> = {
  debug: 'dim',
  warn: 'yellow',
  error: 'red',
  fatal: 'red',
};

/** Control characters, and those that turn the direction of text: a terminal obeys them. */
const OBEYED = /[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** Most lines have none, which is found sooner than each of those above. */
const BEYOND_PRINTABLE = /[^ -~]/;

/**
 * A line of the log as people read it on a terminal: the time of day, then of a request what was
 * asked and how it went, in columns, and of anything else the message and its facts. One line, but
 * for the stack of an error.
 */
export function lineForPeople(line: Line, isColoured: boolean): string {
  const paint = (style: Style, text: string): string =>
    isColoured ? styleText(style, text, { validateStream: false }) : text;
  const time = paint('dim', timeOfDay(line['time']));
  const style = LEVEL_STYLE[String(line['level'])];
  const level = style ? paint(style, `${String(line['level']).toUpperCase()} `) : '';
  const isRequest = line['msg'] === 'request' && 'status' in line;
  const told = isRequest ? requestOf(line, paint) : `${level}${textOf(line['msg'])}`;
  const others = Object.entries(line).filter(
    ([key]) => !BESIDE.has(key) && !(isRequest && OF_REQUEST.has(key)),
  );
  const facts = others.map(([key, value]) => `  ${paint('dim', `${key}=`)}${factOf(value)}`);
  return `${time}  ${told}${facts.join('')}${errorOf(line, paint)}`;
}

type Paint = (style: Style, text: string) => string;

function requestOf(line: Line, paint: Paint): string {
  const { method, status, source, bytes, ms, client, target, upstream, reference, path } = line;
  const name = nameOf(target ?? upstream, reference) || textOf(path ?? line['kind']);
  const columns = [
    textOf(method).padEnd(4),
    paint(statusStyle(Number(status)), textOf(status)),
    textOf(source ?? '-').padEnd(11),
    size(Number(bytes)).padStart(8),
    span(Number(ms)).padStart(7),
    textOf(client ?? '-').padEnd(15),
    name,
  ];
  const end = line['cut'] ? 'cut short' : line['left'] ? 'the client left' : undefined;
  const why = [end, line['reason']].filter((text) => text !== undefined).map(textOf);
  return columns.join('  ') + (why.length > 0 ? paint('dim', `  (${why.join(': ')})`) : '');
}

/** The beginning of a digest tells it apart on a screen. */
function nameOf(target: unknown, reference: unknown): string {
  if (target === undefined) return '';
  if (reference === undefined) return textOf(target);
  const text = textOf(reference);
  const [, short] = /^(sha\d+:[0-9a-f]{12})[0-9a-f]+$/.exec(text) ?? [];
  return `${textOf(target)}${text.includes(':') ? '@' : ':'}${short ?? text}`;
}

function statusStyle(status: number): Style {
  if (status >= 500) return 'red';
  return status >= 400 ? 'yellow' : 'green';
}

function timeOfDay(time: unknown): string {
  const date = new Date(String(time));
  return Number.isNaN(date.getTime()) ? '--:--:--' : date.toTimeString().slice(0, 8);
}

function size(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = bytes < 1 ? 0 : Math.min(4, Math.floor(Math.log2(bytes) / 10));
  const amount = bytes / 1024 ** power;
  return `${power === 0 ? amount : amount.toPrecision(3)} ${units[power]}`;
}

function span(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** The stack of what is an error here; of a warning its message alone, which says what others did. */
function errorOf({ err: error, level }: Line, paint: Paint): string {
  if (error === undefined) return '';
  const { stack, message } = (error ?? {}) as { stack?: unknown; message?: unknown };
  if (level === 'warn' && typeof message === 'string')
    return paint('dim', `  (${textOf(message)})`);
  const text = typeof stack === 'string' ? stack : JSON.stringify(error);
  const lines = text.split('\n');
  return lines.map((line) => `\n          ${paint('dim', textOf(line))}`).join('');
}

/** In quotes where it could be taken for several facts. */
function factOf(value: unknown): string {
  const text = textOf(value);
  return typeof value === 'string' && / {2}|^"/.test(text) ? textOf(JSON.stringify(value)) : text;
}

/** On one line, and nothing that a terminal obeys. */
function textOf(value: unknown): string {
  return escapeObeyed(typeof value === 'string' ? value : JSON.stringify(value));
}

/** Without what a terminal obeys. JSON stays what it is: it may escape any character so. */
export function escapeObeyed(text: string): string {
  if (!BEYOND_PRINTABLE.test(text)) return text;
  return text.replace(OBEYED, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return `\\u${code.toString(16).padStart(4, '0')}`;
  });
}
