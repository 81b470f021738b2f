import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { askAdmin } from '../../src/cli/admin-client.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { MirrorProcess } from '../helpers/process.ts';

const TIMES = 40;
const CHUNK = Buffer.alloc(64 * 1024, 'no tar');
/** More than sockets hold. */
const CHUNKS = 400;

test('a tar that is refused at its head is told why, however much of it was still to come', async (t) => {
  const folder = await createTempFolder(t);
  const { publicKey } = generateKeyPairSync('ed25519');
  await writeFile(join(folder, 'key.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
  const bundles = { trust: { maker: { file: 'key.pub' } } };
  const { adminUrl } = await MirrorProcess.start(t, folder, { bundles });
  const url = new URL(adminUrl);
  for (let time = 0; time < TIMES; time += 1) {
    const tar = (async function* chunks() {
      for (let sent = 0; sent < CHUNKS; sent += 1) yield CHUNK;
    })();
    const asked = askAdmin({ url }, '/api/v1/bundles/parts', { method: 'POST', tar });
    await t.throwsAsync(asked, { message: /^this is no bundle/ });
  }
});
