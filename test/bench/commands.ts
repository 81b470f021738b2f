import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { toolPath } from '../clients/tools.ts';

/** How what is run beside Entrepot comes here: as a Debian package, or built with Go. */
const SOURCES = {
  curl: 'install the Debian package curl',
  'docker-registry': 'install the Debian package docker-registry',
  nginx: 'install the Debian package nginx-light',
  skopeo: 'install the Debian package skopeo',
  wrk: 'install the Debian package wrk',
  regsync: 'node test/clients/build.ts regsync',
} as const;

export type Command = keyof typeof SOURCES;

/** Where the command is, or `undefined` when it is not there. */
export function findCommand(command: Command): string | undefined {
  if (command === 'regsync') return [toolPath(command)].find(isExecutable);
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, command)).find(isExecutable);
}

/** One sentence for each command that is missing. */
export function explainMissing(commands: readonly Command[]): string[] {
  return commands
    .filter((command) => findCommand(command) === undefined)
    .map((command) => `${command} (${SOURCES[command]})`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
