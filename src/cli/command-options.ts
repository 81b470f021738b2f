/** What every command takes. */
export interface CommandOptions {
  readonly config?: string;
  readonly json?: boolean;
}

export const FILE_OPTION = [
  '-c, --config <file>',
  'configuration; else $ENTREPOT_CONFIG, else ./entrepot.yaml',
] as const;

export const JSON_OPTION = ['--json', 'print JSON'] as const;
