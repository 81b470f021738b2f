import test from 'ava';
import { pino } from 'pino';
import { Listener } from '../../src/http/listener.ts';
import { createFakeAdmin } from './fake-admin.ts';
import { FakeDraftApi } from './fake-draft-api.ts';
import { FakeIntakeApi } from './fake-intake-api.ts';
import { FakeLayoutApi } from './fake-layout-api.ts';

const JSON_TYPE = { 'Content-Type': 'application/json' };
const DIGEST = `sha256:${'a'.repeat(64)}`;

test('a draft is begun with all of a wish, looked at, read from and ended', async (t) => {
  const drafts = new FakeDraftApi();
  const log = pino({ level: 'silent' });
  const bundles = {
    inventory: { make: async () => Buffer.from('inventory') },
    imports: new FakeIntakeApi(),
    layouts: new FakeLayoutApi(),
    drafts,
  };
  const app = createFakeAdmin({ bundles, log });
  const listener = await Listener.open({ host: '127.0.0.1', port: 0 }, app.callback(), log);
  t.teardown(async () => listener.close(0));
  const url = `${listener.url}/api/v1/bundles/drafts`;
  const files = [{ name: 'policy.json', digest: DIGEST, size: 2 }];
  const wish = { images: ['a:1'], lock: { version: 1 }, inventory: 'eA==', files };
  const begun = await fetch(url, {
    method: 'POST',
    headers: JSON_TYPE,
    body: JSON.stringify(wish),
  });
  t.deepEqual([begun.status, begun.headers.get('location')], [202, '/api/v1/bundles/drafts/d1']);
  t.deepEqual(await begun.json(), { id: 'd1' });
  t.deepEqual(await (await fetch(`${url}/d1`)).json(), { id: 'd1' });
  const blob = await fetch(`${url}/d1/blobs/${DIGEST}?start=2&end=5`);
  t.is(blob.headers.get('content-length'), '3');
  t.is(blob.headers.get('content-type'), 'application/octet-stream');
  t.is(await blob.text(), '234');
  t.is((await fetch(`${url}/d1`, { method: 'DELETE' })).status, 204);
  t.deepEqual(drafts.calls, [
    ['draft', wish],
    ['openBlob', 'd1', DIGEST, { start: 2, end: 5 }],
    ['end', 'd1'],
  ]);
});
