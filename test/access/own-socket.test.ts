/** The socket in the store's folder, by which commands of the mirror's own user need no role. */
import { existsSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { adminSocketPath } from '../../src/config/listen.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';
import { until } from '../helpers/until.ts';

const HUB = 'hub.example';
const MANIFEST = '/v2/library/app/manifests/v1';
const ACCESS = {
  token: { ttl: 300_000 },
  rules: [{ who: ['anonymous'], may: ['pull' as const], images: [`${HUB}/library/**`] }],
};

test('a reload that brings the first rules opens it', async (t) => {
  const { url } = await FakeRegistry.start(t);
  const options = { upstreams: { [HUB]: { url } } };
  const mirror = await startMirror(t, options);
  const socketPath = adminSocketPath(mirror.config);
  t.false(existsSync(socketPath));
  t.is((await mirror.reload({ ...options, access: ACCESS })).status, 200);
  const modeOf = (): number => (statSync(socketPath, { throwIfNoEntry: false })?.mode ?? 0) & 0o777;
  await until('the socket', () => modeOf() === 0o600);
  t.is((await get(`${mirror.server.adminUrl}/api/v1/status`)).status, 401);
  const headers = { 'content-type': 'application/json' };
  const reload = { method: 'POST', socketPath, headers };
  t.is((await get('http://mirror/api/v1/reload', reload)).status, 200);
  t.is((await get('http://mirror/api/v1/status', { socketPath })).status, 200);
});

test('where none can be made the mirror serves all the same, and says that commands need a role', async (t) => {
  const registry = await FakeRegistry.start(t);
  registry.addImage('library/app', 'v1', buildImage({ seed: 'app', layers: [100] }));
  // Longer than the path of a socket may be.
  const storePath = join(await createTempFolder(t), 'x'.repeat(120));
  await mkdir(storePath);
  const upstreams = { [HUB]: { url: registry.url } };
  const mirror = await startMirror(t, { upstreams, storePath, access: ACCESS });
  t.is((await get(`${mirror.url}${MANIFEST}`, { headers: { accept: '*/*' } })).status, 200);
  await mirror.logged('the socket for commands cannot be opened: they need a role');
  t.is((await get(`${mirror.server.adminUrl}/api/v1/status`)).status, 401);
});
