/** All problems of a configuration; each begins with its path in the file. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];
  /** The file the problems are in. */
  readonly file: string | undefined;

  constructor(problems: readonly string[], options: { file?: string; cause?: unknown } = {}) {
    super(problems.join('; '), { cause: options.cause });
    this.problems = problems;
    this.file = options.file;
  }
}
