import { createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ParityFile } from '../../../sync/bundle/parity.ts';
import type { MadeBundle } from './made-bundle.ts';

/** Writes a bundle into a folder: `1.tar` and so on, and `parity.tar` where it says that it has one. */
export async function writeBundle(
  bundle: MadeBundle,
  folder: string,
): Promise<{ files: ReadonlyMap<number, string>; parity: string }> {
  const parity = join(folder, 'parity.tar');
  const { hasParity } = bundle.manifest;
  await using file = hasParity ? await open(parity, 'wx+') : undefined;
  const mixing = file && new ParityFile(file, bundle);
  const files = new Map<number, string>();
  for (let part = 1; part <= bundle.parts; part += 1) {
    const path = join(folder, `${part}.tar`);
    const bytes = bundle.write(part);
    await pipeline(mixing ? mixing.mix(bytes) : bytes, createWriteStream(path));
    files.set(part, path);
  }
  await mixing?.seal();
  return { files, parity };
}
