/** Many clients on one cold blob: each costs what it is sent, and no look at the disk. */
import { mock } from 'node:test';
import test from 'ava';
import { Ingest } from '../../src/store/files/ingest.ts';
import { open } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildBlob } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';

const FIRST = 16 * 1024;
const SIZE = 64 * 1024;

for (const clients of [1, 30]) {
  test.serial(
    `the file is not read for clients that keep up, to the last byte: ${clients}`,
    async (t) => {
      const registry = await FakeRegistry.start(t);
      const blob = registry.addBlob('library/app', buildBlob(t.title, SIZE), { name: 'layer' });
      const gate = registry.hold(blob, { after: FIRST });
      const mirror = await startMirror(t, { upstreams: { 'docker.io': { url: registry.url } } });
      const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`;
      const opened = await Promise.all(Array.from({ length: clients }, async () => open(url)));
      const firsts = await Promise.all(opened.map(async (response) => response.read(FIRST)));
      // Who came late may have had these from the file.
      const { mock: reads } = mock.method(Ingest.prototype, 'readAt');
      t.teardown(() => reads.restore());
      gate.open();
      const rests = await Promise.all(opened.map(async (response) => response.rest()));
      for (const [client, rest] of rests.entries())
        t.true(Buffer.concat([firsts[client]!, rest]).equals(blob.bytes));
      t.is(reads.callCount(), 0);
      t.deepEqual(registry.conversation(), ['GET /v2/library/app/blobs/<layer>']);
    },
  );
}
