import { execFile, execFileSync } from 'node:child_process';
import { appendFile, copyFile, cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const PROJECT = join(import.meta.dirname, '..', '..');
const BASE = 'localhost/node:base';
const IMAGE = 'localhost/entrepot:test';
/** What a base with Node has beside Debian's smallest system. */
const LIBRARIES = 'ca-certificates,libatomic1,libstdc++6';

/** What an image says of how it is to be run. */
export interface ImageConfig {
  readonly user: string;
  readonly workingDirectory: string;
  readonly command: readonly string[];
  readonly healthCheck: readonly string[];
}

/** The image that the Dockerfile makes, built by Podman over a Debian root made here, which stands in for the base. */
export class BuiltImage {
  /** Its files. */
  readonly root: string;
  readonly config: ImageConfig;
  readonly #folder: string;

  /** Needs a network: of Debian's packages and npm's. */
  static async build(): Promise<BuiltImage> {
    const folder = await mkdtemp(join(tmpdir(), 'entrepot-image-'));
    const base = join(folder, 'base');
    await run('debootstrap', ['--variant=minbase', `--include=${LIBRARIES}`, 'bookworm', base]);
    await installNode(base);
    const podman = podmanIn(folder);
    await run('sh', ['-c', `tar -C '${base}' -c . | ${podman.join(' ')} import - ${BASE}`]);
    await rm(base, { recursive: true });
    const options = ['--format=docker', '--layers=false', '--isolation=chroot', '--network=host'];
    const file = join(PROJECT, 'deploy', 'image', 'Dockerfile');
    const wanted = ['--pull=never', '--build-arg', `NODE=${BASE}`, '-f', file, '-t', IMAGE];
    const [program, ...flags] = podman;
    const args = [
      ...flags,
      'build',
      ...options,
      ...wanted,
      ...(await npmSettings(folder)),
      PROJECT,
    ];
    await run(program, args, { maxBuffer: 2 ** 26 });
    return new BuiltImage(folder);
  }

  private constructor(folder: string) {
    this.#folder = folder;
    this.root = this.#podman('image', 'mount', IMAGE);
    const [{ Config: config, Healthcheck: health }] = JSON.parse(
      this.#podman('image', 'inspect', IMAGE),
    ) as [
      {
        Config: { User: string; WorkingDir: string; Entrypoint: string[]; Cmd: string[] };
        Healthcheck: { Test: string[] };
      },
    ];
    this.config = {
      user: config.User,
      workingDirectory: config.WorkingDir,
      command: [...config.Entrypoint, ...config.Cmd],
      healthCheck: health.Test.slice(1),
    };
  }

  /** What runs a command in it as its user, with nothing to write to but this store, and /tmp. */
  walls(store: string, configuration?: string): string[] {
    const [uid = '', gid = ''] = this.config.user.split(':');
    const user = ['--unshare-user', '--uid', uid, '--gid', gid, '--cap-drop', 'ALL'];
    const system = ['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp', '--clearenv'];
    const path = [
      '--setenv',
      'PATH',
      '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    ];
    const folders = ['--bind', store, '/var/lib/entrepot', '--chdir', this.config.workingDirectory];
    const own = '/etc/entrepot/entrepot.yaml';
    const mounted = configuration === undefined ? [] : ['--ro-bind', configuration, own];
    const root = ['bwrap', '--die-with-parent', '--ro-bind', this.root, '/'];
    return [root, user, system, path, folders, mounted].flat();
  }

  async remove(): Promise<void> {
    this.#podman('image', 'unmount', IMAGE);
    await rm(this.#folder, { recursive: true, force: true });
  }

  #podman(...args: string[]): string {
    const [program, ...flags] = podmanIn(this.#folder);
    return execFileSync(program, [...flags, ...args], { encoding: 'utf8' }).trim();
  }
}

/** With its images in this folder. */
function podmanIn(folder: string): [string, ...string[]] {
  const [root, run] = [join(folder, 'images'), join(folder, 'run')];
  const flags = ['--storage-driver=overlay', '--cgroup-manager=cgroupfs'];
  return ['podman', `--root=${root}`, `--runroot=${run}`, ...flags];
}

/** The Node of this checkout, and the npm of this machine. */
async function installNode(root: string): Promise<void> {
  const local = join(root, 'usr', 'local');
  await copyFile(process.execPath, join(local, 'bin', 'node'));
  const modules = execFileSync('npm', ['root', '--global'], { encoding: 'utf8' }).trim();
  await mkdir(join(local, 'lib', 'node_modules'), { recursive: true });
  await cp(join(modules, 'npm'), join(local, 'lib', 'node_modules', 'npm'), { recursive: true });
  await symlink('../lib/node_modules/npm/bin/npm-cli.js', join(local, 'bin', 'npm'));
}

/** So that npm finds its registry in the build as it does on this machine: mounts, which leave nothing in the image. */
async function npmSettings(folder: string): Promise<string[]> {
  const settings = join(folder, 'npmrc');
  const own = join(homedir(), '.npmrc');
  await (existsSync(own) ? copyFile(own, settings) : writeFile(settings, ''));
  const mounts = ['--volume', `${settings}:/root/.npmrc:ro`];
  const authorities = process.env['NODE_EXTRA_CA_CERTS'];
  if (authorities === undefined) return mounts;
  await appendFile(settings, '\ncafile=/run/authorities.pem\n');
  return [...mounts, '--volume', `${authorities}:/run/authorities.pem:ro`];
}
