/**
 * The public registries that the documents name, as a process: NODE public-registries.ts KEY CERT. One
 * address serves all of their names, and each request is a line of its output.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request as askHttp } from 'node:http';
import { createServer } from 'node:https';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, buildIndex } from '../helpers/image.ts';
import { PUBLIC_REGISTRIES } from './public-names.ts';

const PLATFORMS = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));
const LAYERS = [300_000, 40_000];

const [key, cert] = process.argv.slice(2).map((path) => readFileSync(path));
const ports = new Map<string, string>();
for (const { hosts, realm, images } of PUBLIC_REGISTRIES) {
  const auth = realm === undefined ? {} : { auth: { kind: 'bearer', realm } as const };
  const registry = await FakeRegistry.start({ teardown: () => undefined }, auth);
  for (const [repository, tags] of Object.entries(images)) {
    for (const tag of tags) {
      const children = PLATFORMS.map((platform) => ({
        platform,
        image: buildImage({
          seed: `${repository}:${tag} ${platform.architecture}`,
          layers: LAYERS,
          platform,
        }),
      }));
      registry.addIndex(repository, tag, buildIndex(children));
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
