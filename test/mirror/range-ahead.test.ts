import test, { type ExecutionContext } from 'ava';
import { open, TruncatedError, type OpenResponse } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import type { Gate } from '../helpers/gate.ts';
import { buildBlob, type Stored } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';

const MIB = 1024 * 1024;
const START = 12 * MIB;

interface World {
  readonly registry: FakeRegistry;
  readonly blob: Stored;
  /** The transfer of the whole waits at it. */
  readonly gate: Gate;
  readonly whole: OpenResponse;
  /** Asks for all from `START` on. */
  readonly resume: () => Promise<OpenResponse>;
}

/** A transfer of a large blob that has come to its first bytes. */
async function setUp(t: ExecutionContext): Promise<World> {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(t.title, 16 * MIB), { name: 'layer' });
  const gate = registry.hold(blob, { after: MIB });
  const upstreams = { 'docker.io': { url: registry.url } };
  const mirror = await startMirror(t, { upstreams, timing: { rangeMs: 1 } });
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`;
  const whole = await open(url);
  await whole.read(MIB);
  const resume = async (): Promise<OpenResponse> =>
    open(url, { headers: { range: `bytes=${START}-` } });
  return { registry, blob, gate, whole, resume };
}

test('a range ahead of the transfer with a wrong byte completes nothing, and is fetched anew', async (t) => {
  const { registry, blob, gate, whole, resume } = await setUp(t);
  registry.corrupt(blob, { at: START + MIB });
  const resumed = await resume();
  const ahead = await resumed.read(blob.size - START - 1);
  t.false(gate.isOpen);
  t.false(ahead.equals(blob.bytes.subarray(START, -1)));
  gate.open();
  const broken = await t.throwsAsync(resumed.rest(), { instanceOf: TruncatedError });
  t.is(broken?.received.length, 0);
  await t.throwsAsync(whole.rest(), { instanceOf: TruncatedError });
  // Each byte was asked for once, and none of them is kept.
  t.deepEqual(registry.conversation(), [
    'GET /v2/library/app/blobs/<layer>',
    `GET /v2/library/app/blobs/<layer> bytes=${START}-${blob.size - 1}`,
  ]);
  const again = await resume();
  t.true((await again.rest()).equals(blob.bytes.subarray(START)));
});

test('a range ahead of the transfer with the right bytes completes once the whole is verified', async (t) => {
  const { blob, gate, whole, resume } = await setUp(t);
  const resumed = await resume();
  const ahead = await resumed.read(blob.size - START - 1);
  t.true(ahead.equals(blob.bytes.subarray(START, -1)));
  t.false(gate.isOpen);
  gate.open();
  t.true((await resumed.rest()).equals(blob.bytes.subarray(-1)));
  t.true((await whole.rest()).equals(blob.bytes.subarray(MIB)));
});
