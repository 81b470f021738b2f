import type { Stored } from './image.ts';

/** The content a request asked for by name, whether or not it is there. */
export interface Carried {
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: string;
}

/** What an origin of the fake registry has to say before any fault touches it. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
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
  headers: Readonly<Record<string, string>> = {},
): Answer {
  const message = code.toLowerCase().replaceAll('_', ' ');
  return jsonAnswer({ errors: [{ code, message, detail: null }] }, headers, status);
}

export function jsonAnswer(
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
  status = 200,
): Answer {
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
