import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatImage } from '../e2e/client.ts';
import { Containerd } from '../e2e/containerd.ts';
import { NATIVE_ARCHITECTURE } from '../e2e/image-layout.ts';
import { MeteredRegistry } from '../e2e/metered-registry.ts';
import { Mirror } from '../e2e/mirror.ts';
import { Netns } from '../e2e/netns.ts';
import { suite } from '../e2e/suite.ts';
import { toolPath } from './tools.ts';

const run = suite('containerd 2 with parallel layers');
const MIB = 1024 * 1024;
const CHUNK = 4 * MIB;
/** Of a connection to the registry, bytes a second. */
const RATE = 10 * MIB;
const NAME = { registry: 'docker.io', repository: 'library/app', reference: '1' };

interface Site {
  readonly netns: Netns;
  readonly mirror: Mirror;
  /** What the registry has sent of the layer since the last call. */
  readonly take: () => ReturnType<MeteredRegistry['take']>;
  /** Of the layer. */
  readonly size: number;
}

/** A registry with an image of one large layer, and the mirror before it. */
async function startSite(ranges: 'auto' | 'sparse', netns: Netns): Promise<Site> {
  const metered = await MeteredRegistry.start(netns, RATE);
  const { registry, url } = metered;
  const layout = join(netns.directory, 'image');
  await netns.run('umoci', 'init', '--layout', layout);
  const image = ['--image', `${layout}:1`];
  await netns.run('umoci', 'new', ...image);
  const platform = ['--architecture', NATIVE_ARCHITECTURE, '--os', 'linux'];
  await netns.run('umoci', 'config', ...image, ...platform);
  const file = join(netns.directory, 'large');
  await writeFile(file, randomBytes(50 * MIB));
  await netns.run('umoci', 'insert', ...image, file, '/large');
  await registry.push(`oci:${layout}:1`, 'library/app', 'oci');
  const manifest = JSON.parse(await registry.manifest('library/app', '1')) as {
    layers: [{ digest: string; size: number }];
  };
  const [layer] = manifest.layers;
  const upstreams = { 'docker.io': { url, ranges } };
  const mirror = await Mirror.start(netns, { upstreams });
  const take: Site['take'] = async () => metered.take(layer.digest);
  return { netns, mirror, take, size: layer.size };
}

for (const ranges of ['auto', 'sparse'] as const) {
  run(
    `containerd 2: a layer in 8 parallel ranges costs its registry once (ranges: ${ranges})`,
    async (t) => {
      t.timeout(120_000);
      const netns = await Netns.create();
      t.teardown(async () => netns.close());
      const { mirror, take, size } = await startSite(ranges, netns);
      const plugin = 'io.containerd.transfer.v1.local';
      const containerd = await Containerd.start(netns, mirror.url, {
        containerd: toolPath('containerd'),
        ctr: toolPath('ctr'),
        pullFlags: [],
        settings: `[plugins."${plugin}"]
max_concurrent_downloads = 8
concurrent_layer_fetch_buffer = ${CHUNK}
[[plugins."${plugin}".unpack_config]]
platform = "linux/${NATIVE_ARCHITECTURE}"
snapshotter = "native"
`,
      });
      const pull = async (): Promise<void> => {
        const how = ['--snapshotter', 'native', '--hosts-dir', containerd.hosts];
        await containerd.ctr('images', 'pull', ...how, formatImage(NAME));
        const found = await containerd.check(NAME);
        t.deepEqual(found, { isComplete: true, isUnpacked: true });
        await containerd.remove(NAME);
      };
      await pull();
      const metered = await take();
      const bytes = metered.reduce((sum, each) => sum + each.bytes, 0);
      t.true(bytes >= size && bytes <= 1.02 * size, `${bytes} of ${size}`);
      if (ranges === 'sparse') {
        // As the client asks for them.
        const asked = new Set(metered.map(({ range }) => /\d+/.exec(String(range))?.[0]));
        for (let at = 0; at < 8; at += 1) t.true(asked.has(String(at * CHUNK)), String(at));
      }
      await pull();
      t.deepEqual(await take(), []);
    },
  );
}
