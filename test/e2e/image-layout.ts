import { createHash, randomBytes } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { chmod, copyFile, link, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { arch } from 'node:os';
import { dirname, join } from 'node:path';
import { describeFiles } from './file-tree.ts';
import type { Netns } from './netns.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const ARCHITECTURES = ['amd64', 'arm64'] as const;

/** What images call the platform of this machine. */
export const NATIVE_ARCHITECTURE = arch() === 'x64' ? 'amd64' : arch();

const MEBIBYTE = 1024 * 1024;

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface LayoutIndex {
  readonly manifests: Descriptor[];
}

/**
 * An OCI image layout with one index of two platforms, each an image of six layers made by umoci:
 * programs and libraries of this machine, random bytes, a whiteout, an opaque directory, links,
 * a pipe, a device and unusual modes.
 */
export class ImageLayout {
  /** How skopeo calls the index. */
  readonly reference: string;
  readonly #netns: Netns;
  readonly #path: string;

  private constructor(netns: Netns, path: string) {
    this.#netns = netns;
    this.#path = path;
    this.reference = `oci:${path}:all`;
  }

  static async build(netns: Netns, name: string): Promise<ImageLayout> {
    const layout = new ImageLayout(netns, join(netns.directory, name));
    await netns.run('umoci', 'init', '--layout', layout.#path);
    for (const architecture of ARCHITECTURES) await layout.#buildImage(name, architecture);
    await layout.#writeIndex();
    return layout;
  }

  /** What a container of this machine's platform starts with, unpacked by umoci. */
  async files(): Promise<string[]> {
    const bundle = `${this.#path}-bundle`;
    await this.#netns.run(
      'umoci',
      'unpack',
      '--image',
      `${this.#path}:${NATIVE_ARCHITECTURE}`,
      bundle,
    );
    return describeFiles(join(bundle, 'rootfs'));
  }

  async #buildImage(name: string, architecture: string): Promise<void> {
    const image = `${this.#path}:${architecture}`;
    const sources = `${this.#path}-${architecture}`;
    const insert = async (...args: string[]) =>
      this.#netns.run('umoci', 'insert', '--image', image, ...args);
    await this.#netns.run('umoci', 'new', '--image', image);
    const settings = ['--architecture', architecture, '--os', 'linux', '--config.cmd', '/bin/sh'];
    await this.#netns.run('umoci', 'config', '--image', image, ...settings);

    await writeRoot(join(sources, 'root'), `${name} on ${architecture}`);
    await insert(join(sources, 'root'), '/');
    await writeData(join(sources, 'data'));
    await insert(join(sources, 'data'), '/srv/data');
    await insert('--whiteout', '/srv/data/removed');
    await writeFile(join(sources, 'large'), randomBytes(4 * MEBIBYTE));
    await insert(join(sources, 'large'), '/srv/large');
    await mkdir(join(sources, 'etc'));
    await writeFile(join(sources, 'etc', 'hostname'), `${architecture}\n`);
    await insert('--opaque', join(sources, 'etc'), '/etc');
    await writeFile(join(sources, 'last'), name);
    await insert(join(sources, 'last'), '/srv/last');
  }

  async #writeIndex(): Promise<void> {
    const path = join(this.#path, 'index.json');
    const layout = JSON.parse(await readFile(path, 'utf8')) as LayoutIndex;
    const manifests = ARCHITECTURES.map((architecture) => {
      const found = layout.manifests.find((manifest) => nameOf(manifest) === architecture)!;
      const { mediaType, digest, size } = found;
      return { mediaType, digest, size, platform: { architecture, os: 'linux' } };
    });
    const bytes = JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests });
    const hex = createHash('sha256').update(bytes).digest('hex');
    await writeFile(join(this.#path, 'blobs', 'sha256', hex), bytes);
    layout.manifests.push({
      mediaType: INDEX,
      digest: `sha256:${hex}`,
      size: bytes.length,
      annotations: { 'org.opencontainers.image.ref.name': 'all' },
    });
    await writeFile(path, JSON.stringify(layout));
  }
}

function nameOf(manifest: Descriptor): string | undefined {
  return manifest.annotations?.['org.opencontainers.image.ref.name'];
}

/** A root file system that starts a shell. */
async function writeRoot(root: string, release: string): Promise<void> {
  const bin = join(root, 'bin');
  await mkdir(bin, { recursive: true });
  for (const program of ['bash', 'ls', 'cat', 'mount']) {
    await copyProgram(root, `/bin/${program}`);
  }
  await chmod(join(bin, 'mount'), 0o4755);
  await link(join(bin, 'bash'), join(bin, 'rbash'));
  await symlink('bash', join(bin, 'sh'));
  await symlink('/nowhere', join(bin, 'dangling'));
  await mkdir(join(root, 'srv'));
  await mkdir(join(root, 'tmp'));
  await chmod(join(root, 'tmp'), 0o1777);
  await mkdir(join(root, 'etc', 'removed'), { recursive: true });
  await writeFile(join(root, 'etc', 'os-release'), `NAME="${release}"\n`);
  await mkdir(join(root, 'dev'));
  spawnSync('mkfifo', [join(root, 'dev', 'initctl')]);
  spawnSync('mknod', [join(root, 'dev', 'null'), 'c', '1', '3']);
}

async function copyProgram(root: string, program: string): Promise<void> {
  const { stdout } = spawnSync('ldd', [program], { encoding: 'utf8' });
  for (const path of [program, ...(stdout.match(/\/\S+/g) ?? [])]) {
    const copy = join(root, path);
    await mkdir(dirname(copy), { recursive: true });
    await copyFile(path, copy);
  }
}

async function writeData(directory: string): Promise<void> {
  await mkdir(join(directory, 'deep', 'er'), { recursive: true });
  await writeFile(join(directory, 'random'), randomBytes(2 * MEBIBYTE));
  await writeFile(join(directory, 'empty'), '');
  await writeFile(join(directory, 'removed'), 'gone in the next layer');
  await writeFile(join(directory, 'deep', 'er', 'private'), 'for the owner', { mode: 0o600 });
  await writeFile(join(directory, 'deep', 'name with spaces, ünïcödé'), 'a name');
}
