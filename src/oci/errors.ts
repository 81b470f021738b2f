import { TEXTS } from './texts.ts';

/**
 * The codes of the distribution spec with their statuses, and `UNAVAILABLE` and `UNKNOWN`, which
 * registries in the field add to them for gateway faults and for faults of their own.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
 */
export const ERROR_STATUS = {
  BLOB_UNKNOWN: 404,
  DENIED: 403,
  DIGEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  PAGINATION_NUMBER_INVALID: 400,
  RANGE_INVALID: 416,
  TAG_INVALID: 400,
  TOOMANYREQUESTS: 429,
  UNAUTHORIZED: 401,
  UNAVAILABLE: 502,
  UNKNOWN: 500,
  UNSUPPORTED: 405,
} as const;

export type ErrorCode = keyof typeof ERROR_STATUS;

export interface RegistryErrorOptions {
  /** Replaces the code's own. */
  readonly message?: string;
  /** A text is the cause, and stands first in the message too: clients print no more than that. */
  readonly detail?: unknown;
  /** Replaces the code's own where a code serves several (`UNAVAILABLE` 502, 503, 504). */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** An error of the distribution spec with its status; all of it is shown to the client. */
export class RegistryError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly detail: unknown;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, options: RegistryErrorOptions = {}) {
    const { detail, message = TEXTS[code], cause } = options;
    super(typeof detail === 'string' ? TEXTS.because({ detail, message }) : message, { cause });
    this.name = 'RegistryError';
    this.code = code;
    this.status = options.status ?? ERROR_STATUS[code];
    this.detail = detail;
    this.headers = options.headers ?? {};
  }

  /** The error document of the spec, one element. */
  toJSON(): { errors: { code: string; message: string; detail?: unknown }[] } {
    const { code, message, detail } = this;
    return { errors: [detail === undefined ? { code, message } : { code, message, detail }] };
  }
}

/** What was asked for is wrong in itself, and the spec has no code of its own for that. */
export function badRequest(
  message: string,
  more: Pick<RegistryErrorOptions, 'cause' | 'detail'> = {},
): RegistryError {
  return new RegistryError('UNSUPPORTED', { ...more, status: 400, message });
}
