/** Where a configuration comes from, and what its file may refer to. */
export interface Source {
  /** What relative paths start from. */
  readonly directory: string;
  readonly env: Environment;
}

export type Environment = Readonly<Record<string, string | undefined>>;
