import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The Debian packages of what is run beside Entrepot. */
const PACKAGES = {
  curl: 'curl',
  'docker-registry': 'docker-registry',
  nginx: 'nginx-light',
  skopeo: 'skopeo',
  wrk: 'wrk',
} as const;

export type Command = keyof typeof PACKAGES;

/** Where the command is, or `undefined` when its package is not installed. */
export function findCommand(command: Command): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, command)).find(isExecutable);
}

/** One sentence for each command that is missing. */
export function explainMissing(commands: readonly Command[]): string[] {
  return commands
    .filter((command) => findCommand(command) === undefined)
    .map((command) => `${command} (install the Debian package ${PACKAGES[command]})`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
