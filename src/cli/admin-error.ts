export interface AdminErrorOptions {
  readonly cause?: unknown;
  readonly status?: number;
  readonly isUnserved?: boolean;
}

/** The command got no good answer from the server or the store it is about; the message says why. */
export class AdminError extends Error {
  override readonly name = 'AdminError';
  /** What the API answered with, in its own words. */
  readonly status: number | undefined;
  /** Nothing listens at the address. */
  readonly isUnserved: boolean;

  constructor(message: string, { cause, status, isUnserved = false }: AdminErrorOptions = {}) {
    super(message, { cause });
    this.status = status;
    this.isUnserved = isUnserved;
  }
}
