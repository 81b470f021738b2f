import type { Stored } from './image.ts';

/** The content a request asked for by name, whether or not it is there. */
export interface Carried {
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: string;
}

/** By name; several lines of one name as a list. */
export type AnswerHeaders = Readonly<Record<string, string | string[]>>;

/** What an origin of the fake registry has to say before any fault touches it. */
export interface Answer {
  readonly status: number;
  readonly headers: AnswerHeaders;
  readonly body: Buffer;
  /** The code of an error, which a registry may word in its own way. */
  readonly error?: string;
  /** Set on the one answer that carries named content: not on a challenge, not on a redirect. */
  readonly carries?: Carried;
  /** Range requests on it are honoured. */
  readonly ranged?: boolean;
}

const CODES: Readonly<Record<number, string>> = {
  400: 'NAME_INVALID',
  401: 'UNAUTHORIZED',
  403: 'DENIED',
  404: 'NAME_UNKNOWN',
  405: 'UNSUPPORTED',
  429: 'TOOMANYREQUESTS',
  503: 'UNAVAILABLE',
};

/** An error as the distribution spec words it; the code follows from the status unless given. */
export function errorAnswer(
  status: number,
  code: string = CODES[status] ?? 'UNKNOWN',
  headers: AnswerHeaders = {},
): Answer {
  const message = code.toLowerCase().replaceAll('_', ' ');
  const document = { errors: [{ code, message, detail: null }] };
  return { ...jsonAnswer(document, headers, status), error: code };
}

/** A registry's own way to say an error: another status, the spec's document, other JSON, or a page. */
export interface Wording {
  readonly status?: number;
  readonly code?: string;
  readonly message?: string;
  readonly json?: unknown;
  readonly html?: string;
}

/** The same refusal with the same headers in a registry's own words. */
export function reword(answer: Answer, wording: Wording): Answer {
  const { status = answer.status, code = answer.error, message, json, html } = wording;
  const said =
    html === undefined
      ? jsonAnswer(json ?? { errors: [{ code, message }] })
      : textAnswer(status, 'text/html; charset=utf-8', html);
  return { ...answer, status, body: said.body, headers: { ...answer.headers, ...said.headers } };
}

export function jsonAnswer(value: unknown, headers: AnswerHeaders = {}, status = 200): Answer {
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  return { status, headers: { 'Content-Type': 'application/json', ...headers }, body };
}

export function textAnswer(status: number, contentType: string, text: string): Answer {
  return { status, headers: { 'Content-Type': contentType }, body: Buffer.from(text) };
}

export function contentAnswer(stored: Stored, carries: Carried): Answer {
  return {
    status: 200,
    headers: {
      'Content-Type': stored.mediaType,
      'Docker-Content-Digest': stored.digest,
      ETag: `"${stored.digest}"`,
    },
    body: stored.bytes,
    carries,
  };
}

export interface ResolvedRange {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

/** `undefined`: no range, or one that is to be ignored. Several ranges in one header are ignored. */
export function resolveRange(
  header: string | undefined,
  size: number,
): ResolvedRange | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return undefined;
  const [, first, last] = match;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size : Math.min(Number(last) + 1, size);
  return start < end ? { start, end } : 'unsatisfiable';
}
