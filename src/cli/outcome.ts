/** What a shell or a service manager learns; the numbers above 1 are those of sysexits. */
export const EXIT_CODE = {
  ok: 0,
  failed: 1,
  /** Of `sync plan`, as `diff` and `terraform plan -detailed-exitcode` count: something is to do. */
  pending: 2,
  /** The command line is wrong. */
  usage: 64,
  /** The configuration is wrong. */
  config: 78,
  /** Stopped by a signal before its orderly end. */
  interrupted: 130,
} as const;

/** The command cannot be carried out as it was given; the message says what to write. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A signal ended the command before it was done. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError';
}

/** The command got no good answer from the server or the store it is about; the message says why. */
export class AdminError extends Error {
  override readonly name = 'AdminError';
  /** Of the API's answer. */
  readonly status: number | undefined;
  /** Of the API's answer, where it is no text. */
  readonly detail: unknown;
  /** Nothing listens at the address. */
  readonly isUnserved: boolean;

  constructor(message: string, options: AdminErrorOptions = {}) {
    const { cause, status, detail, isUnserved = false } = options;
    super(message, { cause });
    this.status = status;
    this.detail = detail;
    this.isUnserved = isUnserved;
  }
}

export interface AdminErrorOptions {
  readonly cause?: unknown;
  readonly status?: number;
  readonly detail?: unknown;
  readonly isUnserved?: boolean;
}
