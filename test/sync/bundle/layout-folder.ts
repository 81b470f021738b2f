import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { MEDIA_TYPES, descriptorOf, store, storeJson, type Image } from '../../helpers/image.ts';
import { tarOf, type TarEntry } from './layout-site.ts';

/** An image whose layers are what runtimes unpack: a file each, compressed. */
export async function realImage(name: string): Promise<Image & { readonly tars: Buffer[] }> {
  const tars = await Promise.all(
    ['one', 'two'].map(async (file) =>
      tarOf([{ name: file, bytes: `${name} ${file}`.repeat(999) }]),
    ),
  );
  const layers = tars.map((tar) => store(gzipSync(tar), `${MEDIA_TYPES.layer}+gzip`));
  const config = storeJson(
    {
      architecture: 'amd64',
      os: 'linux',
      config: { Labels: { name } },
      rootfs: { type: 'layers', diff_ids: tars.map((tar) => store(tar).digest) },
    },
    MEDIA_TYPES.config,
  );
  const manifest = storeJson(
    {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.manifest,
      config: descriptorOf(config),
      layers: layers.map(descriptorOf),
    },
    MEDIA_TYPES.manifest,
  );
  const layer = (at: number) => layers[at]!;
  return { manifest, config, layers, layer, blobs: [config, ...layers], tars };
}

/** Writes the files of a layout below a folder. */
export async function writeFiles(folder: string, files: readonly TarEntry[]): Promise<void> {
  for (const { name, bytes = '' } of files) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
  }
}
