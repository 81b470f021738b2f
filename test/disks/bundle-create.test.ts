import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { buildImage } from '../helpers/image.ts';
import { Connected } from '../sync/bundle/connected.ts';
import { SmallDisk, testDisk } from './small-disk.ts';

testDisk(
  'bundle create writes nothing to a disk that has no room for it, and says how much it needs',
  async (t) => {
    const site = await Connected.start(t);
    const disk = dirname((await SmallDisk.mount(t, 1024 * 1024)).path);
    site.registry.addImage('library/app', 'v1', buildImage({ seed: 'one', layers: [3_000_000] }));
    for (const where of [
      ['--out', join(disk, 'full.tar')],
      ['--to', disk, '--split', '64KiB', '--parity'],
    ]) {
      const { code, stdout, stderr } = await site.create('library/app:v1', ...where);
      t.deepEqual([code, stdout], [1, '']);
      t.regex(
        stderr,
        /^entrepot: the bundle is [23]\.\d+ MiB, and the disk of .* has 1\.00 MiB free: make room/,
      );
      t.deepEqual(readdirSync(disk), []);
    }
  },
);
