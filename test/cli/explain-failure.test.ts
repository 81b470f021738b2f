import test from 'ava';
import { FakeStoreApi, NGINX } from '../admin/fake-store-api.ts';
import { FakeSyncApi, PARTIAL, READY } from '../admin/fake-sync-api.ts';
import { runStoreCommand, serveAdmin } from './run-store-command.ts';

const IMAGE = `${NGINX}:1.27`;
const FAILURE = { rule: 'sync.rules[1]', image: IMAGE, reason: 'the upstream has no such tag' };

async function explain(
  t: Parameters<typeof runStoreCommand>[0],
  sync: FakeSyncApi,
  ...args: string[]
) {
  const store = new FakeStoreApi();
  store.reportNow = undefined;
  const listener = await serveAdmin(store, undefined, sync);
  t.teardown(async () => listener.close(0));
  const admin = new URL(listener.url).host;
  return runStoreCommand(t, ['explain', IMAGE, ...args], { admin });
}

test('explain tells why a rule that selects an image got nothing of it, and fails', async (t) => {
  const sync = new FakeSyncApi();
  sync.failureNow = FAILURE;
  t.deepEqual(await explain(t, sync), {
    code: 1,
    stdout: [
      IMAGE,
      '  state    nothing of it is held',
      '  rule     sync.rules[1]',
      `  failed   ${IMAGE}: the upstream has no such tag`,
      '',
    ].join('\n'),
    stderr: '',
  });
  const { code, stdout } = await explain(t, sync, '--json');
  t.deepEqual(JSON.parse(stdout), { image: IMAGE, failure: FAILURE });
  t.is(code, 1);
});

test('explain tells the failure beside what the rule wants, and none of what is ready', async (t) => {
  const sync = new FakeSyncApi();
  sync.failureNow = FAILURE;
  sync.imageNow = PARTIAL;
  t.regex((await explain(t, sync)).stdout, /^ {2}failed {3}the upstream has no such tag$/m);
  sync.imageNow = READY;
  t.notRegex((await explain(t, sync)).stdout, /failed/);
});
