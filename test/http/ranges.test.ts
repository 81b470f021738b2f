import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { get, open, type ClientAnswer } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildBlob, buildImage, type Stored } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';
import { parseMultipart } from './multipart-body.ts';
import { codeOf } from './raw-answer.ts';

const SIZE = 2048;

interface World {
  readonly registry: FakeRegistry;
  /** A blob that the mirror holds, or one that it is yet to fetch. */
  readonly addBlob: (seed: string, size?: number) => Promise<Stored>;
  readonly ask: (
    blob: Stored,
    range: string | undefined,
    headers?: Record<string, string>,
  ) => Promise<ClientAnswer>;
  readonly url: (blob: Stored) => string;
}

/**
 * `miss`: every blob is asked for while its first bytes are here and the rest is held up until the
 * mirror has had the request.
 */
type Mode = 'hit' | 'miss';

async function createWorld(t: ExecutionContext, mode: Mode): Promise<World> {
  const registry = await FakeRegistry.start(t);
  const mirror = await startMirror(t, {
    upstreams: { 'registry.example': { url: registry.url } },
  });
  const url = (blob: Stored): string => `${mirror.url}/v2/app/blobs/${blob.digest}`;
  const addBlob = async (seed: string, size = SIZE): Promise<Stored> => {
    const blob = registry.addBlob('app', buildBlob(seed, size));
    if (mode === 'miss') return blob;
    await get(url(blob));
    await mirror.idle();
    return blob;
  };
  const ask: World['ask'] = async (blob, range, headers = {}) => {
    const request = { headers: { ...(range !== undefined && { Range: range }), ...headers } };
    if (mode === 'hit') return get(url(blob), request);
    const gate = registry.hold(blob, { after: Math.floor(blob.size / 3) });
    const response = await open(url(blob), request);
    gate.open();
    const { status, headers: received, rawHeaders } = response;
    return { status, headers: received, rawHeaders, body: await response.rest() };
  };
  return { registry, addBlob, ask, url };
}

interface Expected {
  readonly status: 200 | 206 | 416;
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

function assertAnswer(
  t: ExecutionContext,
  answer: ClientAnswer,
  { blob, expected, message }: { blob: Stored; expected: Expected; message: string },
): void {
  const { status, start, end } = expected;
  t.is(answer.status, status, message);
  t.is(answer.headers['content-encoding'], undefined, message);
  if (status === 416) {
    t.is(answer.headers['content-range'], `bytes */${blob.size}`, message);
    t.is(codeOf(answer.body), 'RANGE_INVALID', message);
    t.is(answer.headers['content-type'], 'application/json', message);
    return;
  }
  const range = status === 206 ? `bytes ${start}-${end - 1}/${blob.size}` : undefined;
  t.is(answer.headers['content-range'], range, message);
  t.is(answer.headers['content-length'], String(end - start), message);
  t.is(answer.headers['content-type'], 'application/octet-stream', message);
  t.is(answer.headers['docker-content-digest'], blob.digest, message);
  t.is(answer.headers['accept-ranges'], 'bytes', message);
  const mayBeKept = answer.headers['cache-control'] !== 'no-store';
  t.is(answer.headers['etag'], mayBeKept ? `"${blob.digest}"` : undefined, message);
  t.true(answer.body.equals(blob.bytes.subarray(start, end)), `${message}: the bytes`);
}

const part = (start: number, end: number): Expected => ({ status: 206, start, end });
const NONE: Expected = { status: 416, start: 0, end: 0 };
const WHOLE: Expected = { status: 200, start: 0, end: SIZE };

const SINGLE: Record<string, Expected> = {
  'bytes=500-1499': part(500, 1500),
  'bytes=500-': part(500, SIZE),
  'bytes=-500': part(SIZE - 500, SIZE),
  'bytes=2000-5000': part(2000, SIZE),
  'bytes=500-0': NONE,
  'bytes=5000-10000': NONE,
  'bytes=0-': part(0, SIZE),
  'bytes=0-0': part(0, 1),
  'bytes=-1': part(SIZE - 1, SIZE),
  'bytes=-2048': part(0, SIZE),
  'bytes=-5000': part(0, SIZE),
  'bytes=2047-': part(2047, SIZE),
  'bytes=2047-2047': part(2047, SIZE),
  'bytes=2048-': NONE,
  'bytes=2048-2048': NONE,
  'bytes=-0': NONE,
  'bytes=0-2047': part(0, SIZE),
  'bytes=00500-00501': part(500, 502),
  'BYTES=500-501': part(500, 502),
  'bytes=500-501 ': part(500, 502),
  'bytes=5000-1,7000-': NONE,
  'bytes=500-501,9000-': part(500, 502),
  'items=0-1': WHOLE,
  'bytes=abc': WHOLE,
  'bytes=': WHOLE,
  // As clients written in Go spell "to the end".
  'bytes=500-9223372036854775807': part(500, SIZE),
  'bytes=-9223372036854775807': part(0, SIZE),
  'bytes=9223372036854775806-9223372036854775807': NONE,
};

for (const mode of ['hit', 'miss'] as const) {
  test(`${mode}: a single range is its slice, and 416 when none lies inside`, async (t) => {
    const { addBlob, ask } = await createWorld(t, mode);
    for (const [range, expected] of Object.entries(SINGLE)) {
      const blob = await addBlob(range);
      assertAnswer(t, await ask(blob, range), { blob, expected, message: range });
    }
  });

  // What is on its way is not verified and has no validator.
  test(`${mode}: If-Range counts with the digest as strong validator and with nothing else`, async (t) => {
    const { addBlob, ask } = await createWorld(t, mode);
    const etag = (blob: Stored): string => `"${blob.digest}"`;
    const conditions: [(blob: Stored) => string, Expected][] = [
      [etag, mode === 'hit' ? part(5, 10) : WHOLE],
      [(blob) => `W/${etag(blob)}`, WHOLE],
      [(blob) => blob.digest, WHOLE],
      [() => '"another"', WHOLE],
      [() => 'Wed, 21 Oct 2015 07:28:00 GMT', WHOLE],
    ];
    for (const [condition, expected] of conditions) {
      const blob = await addBlob(condition.toString());
      const message = condition(blob);
      const answer = await ask(blob, 'bytes=5-9', { 'If-Range': message });
      assertAnswer(t, answer, { blob, expected, message });
    }
    const blob = await addBlob('alone');
    const answer = await ask(blob, undefined, { 'If-Range': etag(blob) });
    assertAnswer(t, answer, { blob, expected: WHOLE, message: 'without a Range' });
  });

  test(`${mode}: several ranges are one multipart with exact bytes and length`, async (t) => {
    const { addBlob, ask } = await createWorld(t, mode);
    const lists: [string, [number, number][]][] = [
      [
        'bytes=0-9,100-199',
        [
          [0, 10],
          [100, 200],
        ],
      ],
      [
        'bytes=-5, 0-4 ,2000-9999',
        [
          [2043, 2048],
          [0, 5],
          [2000, 2048],
        ],
      ],
      [
        'bytes=10-19,10-19,9000-,5-4',
        [
          [10, 20],
          [10, 20],
        ],
      ],
      [
        'bytes=1024-,0-1023',
        [
          [1024, 2048],
          [0, 1024],
        ],
      ],
    ];
    for (const [range, expected] of lists) {
      const blob = await addBlob(range);
      const answer = await ask(blob, range);
      t.is(answer.status, 206, range);
      t.is(answer.headers['content-length'], String(answer.body.length), range);
      t.is(answer.headers['content-range'], undefined, range);
      t.is(answer.headers['docker-content-digest'], blob.digest, range);
      t.deepEqual(
        parseMultipart(answer.headers['content-type'] ?? '', answer.body),
        expected.map(([start, end]) => ({
          contentRange: `bytes ${start}-${end - 1}/${SIZE}`,
          contentType: 'application/octet-stream',
          bytes: blob.bytes.subarray(start, end),
        })),
        range,
      );
    }
  });

  test(`${mode}: 1024 ranges are served, 1025 are 400`, async (t) => {
    const { addBlob, ask } = await createWorld(t, mode);
    const positions = Array.from({ length: 1025 }, (_, index) => index);
    const header = (count: number): string =>
      `bytes=${positions
        .slice(0, count)
        .map((index) => `${index * 2}-${index * 2}`)
        .join(',')}`;
    const blob = await addBlob('many', 4096);
    const answer = await ask(blob, header(1024));
    t.is(answer.status, 206);
    const parts = parseMultipart(answer.headers['content-type'] ?? '', answer.body);
    t.deepEqual(
      Buffer.concat(parts.map(({ bytes }) => bytes)),
      Buffer.from(positions.slice(0, 1024).map((index) => blob.bytes[index * 2] ?? 0)),
    );
    const other = await addBlob('too many', 4096);
    const refusal = await ask(other, header(1025));
    t.is(refusal.status, 400);
    t.is(codeOf(refusal.body), 'RANGE_INVALID');
    t.is(refusal.headers['content-range'], undefined);
  });

  test(`${mode}: ranges that together are more than the blob get the blob`, async (t) => {
    const { addBlob, ask } = await createWorld(t, mode);
    for (const range of ['bytes=0-,0-', 'bytes=0-2047,0-0', `bytes=${'0-,'.repeat(1000)}0-`]) {
      const blob = await addBlob(range);
      assertAnswer(t, await ask(blob, range), { blob, expected: WHOLE, message: range });
    }
  });

  test(`${mode}: no range of an empty blob can be satisfied`, async (t) => {
    const { addBlob, ask } = await createWorld(t, mode);
    for (const range of ['bytes=0-', 'bytes=0-0', 'bytes=-1']) {
      const blob = await addBlob('empty', 0);
      assertAnswer(t, await ask(blob, range), { blob, expected: NONE, message: range });
    }
    const blob = await addBlob('empty', 0);
    const answer = await ask(blob, undefined);
    assertAnswer(t, answer, {
      blob,
      expected: { status: 200, start: 0, end: 0 },
      message: 'whole',
    });
  });

  test(`${mode}: any range of any content equals the slice`, async (t) => {
    const { addBlob, ask } = await createWorld(t, mode);
    const spec = fc.record({
      size: fc.nat(3000),
      first: fc.option(fc.nat(3500), { nil: undefined }),
      last: fc.option(fc.nat(3500), { nil: undefined }),
    });
    let run = 0;
    await fc.assert(
      fc.asyncProperty(spec, async ({ size, first, last }) => {
        const blob = await addBlob(`property ${run++}`, size);
        const range = `bytes=${first ?? ''}-${last ?? ''}`;
        const expected = expectRange(size, first, last);
        const answer = await ask(blob, range);
        assertAnswer(t, answer, { blob, expected, message: `${range} of ${size}` });
      }),
      { numRuns: 150 },
    );
  });

  test(`${mode}: any list of ranges equals the slices`, async (t) => {
    const { addBlob, ask } = await createWorld(t, mode);
    const bounds = fc.tuple(fc.nat(SIZE - 1), fc.nat(400));
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(bounds, { minLength: 2, maxLength: 5 }), async (pairs) => {
        const blob = await addBlob(`list ${run++}`);
        const ranges = pairs.map(([start, length]) => ({
          start,
          end: Math.min(SIZE, start + length + 1),
        }));
        const header = `bytes=${pairs.map(([start, length]) => `${start}-${start + length}`).join(',')}`;
        const answer = await ask(blob, header);
        const total = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
        if (total > SIZE) {
          assertAnswer(t, answer, { blob, expected: WHOLE, message: header });
          return;
        }
        const parts = parseMultipart(answer.headers['content-type'] ?? '', answer.body);
        t.deepEqual(
          parts.map(({ bytes }) => bytes),
          ranges.map(({ start, end }) => blob.bytes.subarray(start, end)),
          header,
        );
      }),
      { numRuns: 60 },
    );
  });
}

function expectRange(size: number, first: number | undefined, last: number | undefined): Expected {
  if (first === undefined && last === undefined) return { status: 200, start: 0, end: size };
  const start = first ?? Math.max(0, size - (last ?? 0));
  const end = first === undefined || last === undefined ? size : Math.min(size, last + 1);
  return start < end ? part(start, end) : NONE;
}

test('a large range is exact across the buffers of the sender', async (t) => {
  const { addBlob, ask } = await createWorld(t, 'hit');
  const size = 5 * 1024 * 1024 + 17;
  const blob = await addBlob('large', size);
  for (const [start, end] of [
    [0, size],
    [1, size],
    [1024 * 1024 - 1, 3 * 1024 * 1024 + 1],
    [size - 1024 * 1024, size],
  ] as const) {
    const answer = await ask(blob, `bytes=${start}-${end - 1}`);
    assertAnswer(t, answer, { blob, expected: part(start, end), message: `${start}-${end}` });
  }
});

test('a refused or partial range on a miss still brings the whole blob, by one request', async (t) => {
  for (const range of ['bytes=9999-', 'bytes=0-0', 'bytes=-1']) {
    const { registry, addBlob, ask, url } = await createWorld(t, 'miss');
    const blob = await addBlob(range);
    await ask(blob, range);
    const whole = await get(url(blob));
    t.true(whole.body.equals(blob.bytes), range);
    t.is(registry.conversation().length, 1, range);
  }
});

test('a range is nothing to HEAD, to a manifest and to If-None-Match', async (t) => {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 1, layers: [SIZE] });
  registry.addImage('app', 'v1', image);
  const mirror = await startMirror(t, {
    upstreams: { 'registry.example': { url: registry.url } },
  });
  const blob = image.layer(0);
  const blobUrl = `${mirror.url}/v2/app/blobs/${blob.digest}`;
  await get(blobUrl);
  for (const range of ['bytes=0-9', 'bytes=9999-']) {
    const head = await get(blobUrl, { method: 'HEAD', headers: { Range: range } });
    t.is(head.status, 200);
    t.is(head.headers['content-length'], String(SIZE));
    const manifest = await get(`${mirror.url}/v2/app/manifests/v1`, { headers: { Range: range } });
    t.is(manifest.status, 200);
    t.deepEqual(manifest.body, image.manifest.bytes);
    const unchanged = await get(blobUrl, {
      headers: { Range: range, 'If-None-Match': `"${blob.digest}"` },
    });
    t.is(unchanged.status, 304);
  }
});

test('a blob of unknown length is served whole, whatever range is asked for', async (t) => {
  const registry = await FakeRegistry.start(t);
  const mirror = await startMirror(t, {
    upstreams: { 'registry.example': { url: registry.url } },
  });
  for (const range of [undefined, 'bytes=5-9', 'bytes=0-', 'bytes=-1']) {
    const blob = registry.addBlob('app', buildBlob(`unknown ${range}`, SIZE));
    registry.omitHeaders(blob, ['Content-Length']);
    const answer = await get(`${mirror.url}/v2/app/blobs/${blob.digest}`, {
      headers: range === undefined ? {} : { Range: range },
    });
    t.is(answer.status, 200, range);
    t.true(answer.body.equals(blob.bytes), range);
  }
});
