import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client, ImageName } from '../e2e/client.ts';
import type { World } from '../e2e/world.ts';

/** The command that copies an image for this machine's platform into an OCI layout. */
export type Copy = (image: string, layout: string) => readonly [string, ...string[]];

/** A tool that knows no mirrors: the image is named as the mirror's own, and umoci unpacks it. */
export class LayoutClient implements Client {
  readonly #world: World;
  readonly #copy: Copy;
  readonly #layout: string;
  readonly #converted: string;
  readonly #bundle: string;

  constructor(world: World, copy: Copy) {
    this.#world = world;
    this.#copy = copy;
    this.#layout = join(world.netns.directory, 'pulled-layout');
    this.#converted = join(world.netns.directory, 'converted-layout');
    this.#bundle = join(world.netns.directory, 'pulled-bundle');
  }

  async pull({ registry, repository, reference }: ImageName): Promise<string> {
    const { netns, mirror } = this.#world;
    const separator = reference.includes(':') ? '@' : ':';
    const path = `${registry.replace(':', '_')}/${repository}${separator}${reference}`;
    await netns.run(...this.#copy(`${new URL(mirror.url).host}/${path}`, this.#layout));
    // Under Docker's types it is nothing that umoci knows, and not every tool gives it a name.
    const named = `${this.#converted}:pulled`;
    const copy = ['--insecure-policy', 'copy', '--quiet'];
    await netns.run('skopeo', ...copy, `oci:${this.#layout}`, `oci:${named}`);
    await netns.run('umoci', 'unpack', '--image', named, this.#bundle);
    return join(this.#bundle, 'rootfs');
  }

  async remove(): Promise<void> {
    for (const path of [this.#layout, this.#converted, this.#bundle]) {
      await rm(path, { recursive: true });
    }
  }
}
