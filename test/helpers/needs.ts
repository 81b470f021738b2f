import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import test, { type TestFn } from 'ava';

/** The Debian packages that bring the commands which tests run. */
const PACKAGES = {
  amtool: 'prometheus-alertmanager',
  bash: 'bash',
  bwrap: 'bubblewrap',
  containerd: 'containerd',
  ctr: 'containerd',
  curl: 'curl',
  debootstrap: 'debootstrap',
  docker: 'docker.io',
  'docker-registry': 'docker-registry',
  dockerd: 'docker.io',
  fish: 'fish',
  ip: 'iproute2',
  nsenter: 'util-linux',
  nginx: 'nginx-light',
  openssl: 'openssl',
  podman: 'podman',
  prometheus: 'prometheus',
  'prometheus-alertmanager': 'prometheus-alertmanager',
  promtool: 'prometheus',
  script: 'bsdutils',
  runc: 'runc',
  skopeo: 'skopeo',
  'systemd-analyze': 'systemd',
  umoci: 'umoci',
  unshare: 'util-linux',
  zsh: 'zsh',
} as const;

export type Command = keyof typeof PACKAGES;

/**
 * `test` where nothing is in the way. Elsewhere one test of this name says what is: it fails where
 * `CI` is set and is skipped without, as are the others.
 */
export function testUnless(name: string, obstacle: string | undefined): TestFn {
  if (obstacle === undefined) return test;
  const inCI = Boolean(process.env['CI']);
  test.runIf(inCI)(`${name}: not run, ${obstacle}`, (t) => t.fail(obstacle));
  return test.runIf(false);
}

/** What to install for these commands, where one of them is missing. */
export function missingPackages(...commands: readonly Command[]): string | undefined {
  const missing = commands.filter((command) => !isInstalled(command));
  const packages = new Set(missing.map((command) => PACKAGES[command]));
  return packages.size > 0 ? `install the Debian packages: ${[...packages].join(' ')}` : undefined;
}

/** What keeps this process from mounts and networks of its own. */
export function missingRights(): string | undefined {
  if (process.getuid?.() !== 0) return 'run as root';
  const { status } = spawnSync('unshare', ['--net', '--mount', '--pid', '--fork', 'true']);
  return status === 0 ? undefined : 'run where root may make namespaces (CAP_SYS_ADMIN)';
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
