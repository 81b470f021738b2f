import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import test from 'ava';

/** The Debian packages that bring the commands these suites run. */
const PACKAGES = {
  containerd: 'containerd',
  ctr: 'containerd',
  'docker-registry': 'docker-registry',
  dockerd: 'docker.io',
  ip: 'iproute2',
  nsenter: 'util-linux',
  podman: 'podman',
  skopeo: 'skopeo',
  umoci: 'umoci',
  unshare: 'util-linux',
} as const;

type Command = keyof typeof PACKAGES;

const ALWAYS: readonly Command[] = [
  'unshare',
  'nsenter',
  'ip',
  'docker-registry',
  'skopeo',
  'umoci',
];

/**
 * `test.serial` when this machine can run the suite. Else one test says what to install: it fails
 * where `CI` is set and is skipped elsewhere, as are the others.
 */
export function suite(name: string, ...commands: Command[]) {
  const reason = findObstacle([...ALWAYS, ...commands]);
  if (reason === undefined) return test.serial;
  const inCI = Boolean(process.env['CI']);
  test.runIf(inCI)(`${name}: not run, ${reason}`, (t) => t.fail(reason));
  return test.serial.runIf(false);
}

function findObstacle(commands: readonly Command[]): string | undefined {
  const missing = commands.filter((command) => !isInstalled(command));
  const packages = new Set(missing.map((command) => PACKAGES[command]));
  if (packages.size > 0) return `install the Debian packages: ${[...packages].join(' ')}`;
  if (process.getuid?.() !== 0) return 'run as root';
  const { status } = spawnSync('unshare', ['--net', '--mount', '--pid', '--fork', 'true']);
  if (status !== 0) return 'run where root may make namespaces (CAP_SYS_ADMIN)';
  return undefined;
}

function isInstalled(command: string): boolean {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return directories.some((directory) => {
    try {
      accessSync(join(directory, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
