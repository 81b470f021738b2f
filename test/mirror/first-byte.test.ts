/** The first bytes of a cold blob go on to their client while the upstream sends no more, and so does each later part. */
import test from 'ava';
import { createCertificates } from '../helpers/certificate.ts';
import { open } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildBlob } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';

const SIZE = 600_000;

for (const scheme of ['http', 'https'] as const) {
  for (const first of [1, 1_000, 64 * 1024, 400_000]) {
    test(`what the upstream holds back holds back nothing that came: ${first} bytes by ${scheme}`, async (t) => {
      const tls = scheme === 'https' ? (await createCertificates()).server : undefined;
      const registry = await FakeRegistry.start(t, tls && { tls });
      const blob = registry.addBlob('library/app', buildBlob(t.title, SIZE), { name: 'layer' });
      const gate = registry.hold(blob, { after: first });
      const upstream = { url: registry.url, ...(tls && { tls: { insecure: true } }) };
      const mirror = await startMirror(t, { upstreams: { 'docker.io': upstream } });
      const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`;
      const clients = await Promise.all([open(url), open(url)]);
      for (const client of clients)
        t.true((await client.read(first)).equals(blob.bytes.subarray(0, first)));
      t.false(gate.isOpen);
      gate.open();
      for (const client of clients)
        t.true((await client.rest()).equals(blob.bytes.subarray(first)));
      t.deepEqual(registry.conversation(), ['GET /v2/library/app/blobs/<layer>']);
    });
  }
}
