/**
 * The public registries that the documents name, as a process: NODE public-registries.ts KEY CERT. One
 * address serves all of their names, and each request is a line of its output.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request as askHttp } from 'node:http';
import { createServer } from 'node:https';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import {
  buildImage,
  buildIndex,
  MEDIA_TYPES,
  randomBytes,
  store,
  type Stored,
} from '../helpers/image.ts';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { PUBLIC_REGISTRIES } from './public-names.ts';

const PLATFORMS = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));
/** Bytes of the one file of each layer. */
const LAYERS = [300_000, 40_000];

const [key, cert] = process.argv.slice(2).map((path) => readFileSync(path));
const ports = new Map<string, string>();
for (const { hosts, realm, images } of PUBLIC_REGISTRIES) {
  const auth = realm === undefined ? {} : { auth: { kind: 'bearer', realm } as const };
  const registry = await FakeRegistry.start({ teardown: () => undefined }, auth);
  for (const [repository, tags] of Object.entries(images)) {
    for (const tag of tags) {
      const children = PLATFORMS.map(async (platform) => {
        const seed = `${repository}:${tag} ${platform.architecture}`;
        const layers = LAYERS.map(async (size) => buildLayer(seed, size));
        const image = buildImage({ seed, layers: await Promise.all(layers), platform });
        return { platform, image };
      });
      const index = buildIndex(await Promise.all(children));
      registry.addIndex(repository, tag, index);
    }
  }
  for (const host of hosts) ports.set(host, new URL(registry.url).port);
}

const front = createServer({ key, cert }, (request, response) => {
  const { method = '', url = '', headers } = request;
  const { host = '' } = headers;
  console.log(`${method} https://${host}${url}`);
  const passed = askHttp({ port: ports.get(host), method, path: url, headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  passed.on('error', () => response.destroy());
  request.pipe(passed);
});
front.listen(443);
await once(front, 'listening');

/** One that container engines unpack: a folder of its own with one file. */
async function buildLayer(seed: string, size: number): Promise<Stored> {
  const tar = pack();
  tar.entry({ name: `files/${size}`, mtime: new Date(0) }, randomBytes(`${seed} ${size}`, size));
  tar.finalize();
  return store(await buffer(tar), MEDIA_TYPES.layer);
}
