import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatImage } from '../e2e/client.ts';
import { Containerd } from '../e2e/containerd.ts';
import { NATIVE_ARCHITECTURE } from '../e2e/image-layout.ts';
import { Mirror } from '../e2e/mirror.ts';
import { Netns } from '../e2e/netns.ts';
import { Registry } from '../e2e/registry.ts';
import { suite } from '../e2e/suite.ts';
import { toolPath } from './tools.ts';

const run = suite('containerd 2 with parallel layers');
const MIB = 1024 * 1024;
const PROXY = join(import.meta.dirname, '..', 'e2e', 'metering-proxy.ts');
const CHUNK = 4 * MIB;
/** Of a connection to the registry, bytes a second. */
const RATE = 10 * MIB;
const NAME = { registry: 'docker.io', repository: 'library/app', reference: '1' };

interface Metered {
  readonly path: string;
  readonly range?: string;
  readonly bytes: number;
}

interface Site {
  readonly netns: Netns;
  readonly mirror: Mirror;
  /** What the registry has sent of the layer since the last call. */
  readonly take: () => Promise<Metered[]>;
  /** Of the layer. */
  readonly size: number;
}

/** A registry with an image of one large layer, and the mirror before it. */
async function startSite(ranges: 'auto' | 'sparse', netns: Netns): Promise<Site> {
  const registry = await Registry.start(netns, {
    name: 'registry',
    port: 5001,
    data: join(netns.directory, 'registry'),
  });
  const log = join(netns.directory, 'metered.log');
  await writeFile(log, '');
  const proxy = await netns.start(
    'proxy',
    process.execPath,
    PROXY,
    '5000',
    '5001',
    log,
    String(RATE),
  );
  await netns.listening(proxy, 5000);
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
  const upstreams = { 'docker.io': { url: 'http://127.0.0.1:5000', ranges } };
  const mirror = await Mirror.start(netns, { upstreams });
  let taken = 0;
  const take = async (): Promise<Metered[]> => {
    const lines = (await readFile(log, 'utf8')).split('\n').slice(0, -1);
    const fresh = lines.slice(taken).map((line) => JSON.parse(line) as Metered);
    taken = lines.length;
    return fresh.filter(({ path }) => path.includes(layer.digest));
  };
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
