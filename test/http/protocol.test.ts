import { Agent } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { get, rawRequest, type ClientAnswer, type GetOptions } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import {
  buildBlob,
  buildImage,
  buildIndex,
  digestOf,
  MEDIA_TYPES,
  randomBytes,
  store,
  type Image,
  type Stored,
} from '../helpers/image.ts';
import { startMirror, type MirrorOptions, type TestMirror } from '../helpers/mirror.ts';
import { codeOf, parseAnswers } from './raw-answer.ts';
import { clockOf } from '../helpers/clock.ts';

const NAME = 'registry.example';

interface World {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  readonly image: Image;
  readonly layer: Stored;
  readonly ask: (path: string, options?: GetOptions) => Promise<ClientAnswer>;
}

async function createWorld(
  t: ExecutionContext,
  options: Partial<MirrorOptions> & {
    tags?: Partial<MirrorOptions['upstreams'][string]['tags']>;
  } = {},
): Promise<World> {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 1, layers: [3000] });
  registry.addImage('app', 'v1', image, { name: 'app' });
  const { tags, ...rest } = options;
  const mirror = await startMirror(t, {
    upstreams: { [NAME]: { url: registry.url, ...(tags && { tags }) } },
    ...rest,
  });
  const ask: World['ask'] = async (path, request) => get(mirror.url + path, request);
  return { registry, mirror, image, layer: image.layer(0), ask };
}

test('/v2/ and /v2 say that the registry is one', async (t) => {
  const { ask, registry } = await createWorld(t);
  for (const path of ['/v2/', '/v2', `/${NAME}/v2/`, `/${NAME}/v2`, `/v2/?ns=${NAME}`]) {
    const answer = await ask(path);
    t.is(answer.status, 200, path);
    t.is(answer.headers['docker-distribution-api-version'], 'registry/2.0', path);
    t.is(answer.headers['content-type'], 'application/json', path);
    t.is(answer.headers['www-authenticate'], undefined, path);
    t.is(answer.body.toString(), '{}', path);
    const head = await ask(path, { method: 'HEAD' });
    t.is(head.status, 200, path);
    t.is(head.body.length, 0, path);
  }
  t.is(registry.connections, 0);
});

test('HEAD and GET of a manifest agree on type, length and digest, miss and hit', async (t) => {
  const { ask, image, registry } = await createWorld(t, { tags: { ttlMs: 60_000 } });
  const { manifest } = image;
  let isVerified = false;
  for (const reference of ['v1', manifest.digest, manifest.digest.replace(':', '%3A')]) {
    for (const method of ['HEAD', 'GET', 'HEAD', 'GET']) {
      const message = `${method} ${reference}`;
      isVerified ||= method === 'GET';
      const answer = await ask(`/v2/app/manifests/${reference}`, { method });
      t.is(answer.status, 200, message);
      t.is(answer.headers['content-type'], manifest.mediaType, message);
      t.is(answer.headers['content-length'], String(manifest.size), message);
      t.is(answer.headers['docker-content-digest'], manifest.digest, message);
      t.is(answer.headers['etag'], isVerified ? `"${manifest.digest}"` : undefined, message);
      t.is(answer.headers['cache-control'] === 'no-store', !isVerified, message);
      t.is(answer.headers['transfer-encoding'], undefined, message);
      t.deepEqual(answer.body, method === 'HEAD' ? Buffer.alloc(0) : manifest.bytes, message);
    }
  }
  t.deepEqual(registry.conversation(), [
    'HEAD /v2/app/manifests/v1',
    'GET /v2/app/manifests/<app>',
  ]);
});

test('HEAD and GET of a blob agree on type, length and digest, miss and hit', async (t) => {
  const { ask, layer, mirror } = await createWorld(t);
  for (const [method, etag] of [
    ['HEAD', undefined],
    ['GET', undefined],
    ['HEAD', `"${layer.digest}"`],
    ['GET', `"${layer.digest}"`],
  ] as const) {
    const answer = await ask(`/v2/app/blobs/${layer.digest}`, { method });
    await mirror.idle();
    t.is(answer.status, 200, method);
    t.is(answer.headers['content-type'], 'application/octet-stream', method);
    t.is(answer.headers['content-length'], String(layer.size), method);
    t.is(answer.headers['docker-content-digest'], layer.digest, method);
    t.is(answer.headers['etag'], etag, method);
    t.is(answer.headers['cache-control'] === 'no-store', etag === undefined, method);
    t.is(answer.headers['accept-ranges'], 'bytes', method);
    t.is(answer.headers['transfer-encoding'], undefined, method);
    t.deepEqual(answer.body, method === 'HEAD' ? Buffer.alloc(0) : layer.bytes, method);
  }
});

test('the type of a manifest is exact, whatever parameters the upstream added', async (t) => {
  const { ask, registry } = await createWorld(t);
  const types = [
    MEDIA_TYPES.manifest,
    MEDIA_TYPES.dockerManifest,
    MEDIA_TYPES.index,
    MEDIA_TYPES.dockerList,
  ];
  for (const [position, type] of types.entries()) {
    const image = buildImage({ seed: position, layers: [10], docker: type.includes('docker') });
    const isIndex = type === MEDIA_TYPES.index || type === MEDIA_TYPES.dockerList;
    const platform = { os: 'linux', architecture: 'amd64' };
    const { manifest } = isIndex
      ? buildIndex([{ image, platform }], { docker: type.includes('docker') })
      : image;
    registry.addManifest('types', manifest, { tags: [`t${position}`] });
    registry.contentType(manifest, `${type}; charset=utf-8`, { times: Infinity });
    for (const reference of [`t${position}`, manifest.digest]) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await ask(`/v2/types/manifests/${reference}`, { method });
        t.is(answer.headers['content-type'], type, `${method} ${reference}`);
      }
    }
  }
});

test('nothing is encoded, whatever Accept-Encoding says', async (t) => {
  const { ask, layer, image } = await createWorld(t);
  for (const encoding of [
    'gzip',
    'zstd;q=1.0, gzip;q=0.8, deflate;q=0.5',
    'br',
    '*',
    'identity;q=0',
  ]) {
    const headers = { 'Accept-Encoding': encoding };
    for (const [path, expected] of [
      [`/v2/app/blobs/${layer.digest}`, layer],
      ['/v2/app/manifests/v1', image.manifest],
    ] as const) {
      const answer = await ask(path, { headers });
      t.is(answer.headers['content-encoding'], undefined, encoding);
      t.is(answer.headers['content-length'], String(expected.size), encoding);
      t.deepEqual(answer.body, expected.bytes, encoding);
    }
    const list = await ask('/v2/app/tags/list', { headers });
    t.is(list.headers['content-encoding'], undefined, encoding);
  }
});

test('If-None-Match with the digest is 304 without a body', async (t) => {
  const { ask, layer, image, mirror } = await createWorld(t);
  await ask(`/v2/app/blobs/${layer.digest}`);
  await mirror.idle();
  for (const [path, digest] of [
    ['/v2/app/manifests/v1', image.manifest.digest],
    [`/v2/app/manifests/${image.manifest.digest}`, image.manifest.digest],
    [`/v2/app/blobs/${layer.digest}`, layer.digest],
  ] as const) {
    for (const method of ['GET', 'HEAD']) {
      for (const [condition, status] of [
        [`"${digest}"`, 304],
        [`W/"${digest}"`, 304],
        [`"x", "${digest}"`, 304],
        ['*', 304],
        ['"x"', 200],
        [digest, 200],
        [`"${digest.slice(0, -1)}"`, 200],
      ] as const) {
        const message = `${method} ${path} ${condition}`;
        const answer = await ask(path, { method, headers: { 'If-None-Match': condition } });
        t.is(answer.status, status, message);
        t.is(answer.headers['etag'], `"${digest}"`, message);
        t.is(answer.headers['docker-content-digest'], digest, message);
        if (status === 304) t.is(answer.body.length, 0, message);
      }
    }
  }
});

test('a condition is not met by what is fetched first, which is answered whole and fetched once', async (t) => {
  const { mirror, layer, registry } = await createWorld(t);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const url = `${mirror.url}/v2/app/blobs/${layer.digest}`;
  const whole = await get(url, { agent, headers: { 'If-None-Match': `"${layer.digest}"` } });
  t.is(whole.status, 200);
  t.deepEqual(whole.body, layer.bytes);
  t.deepEqual((await get(url, { agent })).body, layer.bytes);
  t.deepEqual(registry.conversation(), ['GET /v2/app/blobs/<app.layer0>']);
});

test('a digest is immutable for caches, a tag is not', async (t) => {
  const { ask, layer, image, mirror } = await createWorld(t);
  await ask(`/v2/app/blobs/${layer.digest}`);
  await mirror.idle();
  const cacheControl = async (path: string): Promise<string | undefined> =>
    (await ask(path)).headers['cache-control'];
  t.regex(
    (await cacheControl(`/v2/app/blobs/${layer.digest}`)) ?? '',
    /max-age=31536000.*immutable/,
  );
  t.regex(
    (await cacheControl(`/v2/app/manifests/${image.manifest.digest}`)) ?? '',
    /max-age=31536000.*immutable/,
  );
  t.is(await cacheControl('/v2/app/manifests/v1'), 'no-cache');
  for (const path of ['/v2/app/manifests/missing', '/v2/app/blobs/bad', '/v2/app/tags/list']) {
    t.notRegex((await cacheControl(path)) ?? '', /immutable/);
  }
});

test('a list longer than a chunk is sent whole and with its length, to GET and HEAD', async (t) => {
  const { ask, registry, image } = await createWorld(t, { tags: { ttlMs: 60_000 } });
  const tags = Array.from({ length: 3000 }, (_, place) => `v${10_000 + place}-${'x'.repeat(40)}`);
  for (const tag of tags) registry.tag('app', tag, image.manifest.digest);
  for (const [query, names] of [
    ['', ['v1', ...tags].toSorted()],
    [`?last=${tags[9]}`, tags.slice(10)],
    [`?last=v2`, []],
  ] as const) {
    const text = JSON.stringify({ name: 'app', tags: names });
    const whole = await ask(`/v2/app/tags/list${query}`);
    t.is(whole.body.toString(), text);
    const head = await ask(`/v2/app/tags/list${query}`, { method: 'HEAD' });
    for (const { headers } of [whole, head]) {
      t.is(headers['content-length'], String(text.length));
      t.is(headers.link, undefined);
    }
    t.is(head.body.length, 0);
  }
});

test('a stored type that Accept does not take is 404 MANIFEST_UNKNOWN and is never converted', async (t) => {
  const { ask, image, mirror } = await createWorld(t);
  const type = image.manifest.mediaType;
  const cases: [string | string[], number][] = [
    [type, 200],
    [type.toUpperCase(), 200],
    ['*/*', 200],
    ['application/*', 200],
    [`${MEDIA_TYPES.index}, ${type};q=0.5`, 200],
    [[MEDIA_TYPES.index, type, MEDIA_TYPES.dockerList], 200],
    [`${MEDIA_TYPES.dockerManifest}, */*;q=0.1`, 200],
    [MEDIA_TYPES.dockerManifest, 404],
    [`${MEDIA_TYPES.index}, ${MEDIA_TYPES.dockerList}`, 404],
    ['text/*', 404],
    [`${type};q=0`, 404],
    [`*/*, ${type};q=0`, 404],
    [`application/*;q=0, */*`, 404],
    ['application/json', 404],
  ];
  for (const [accept, status] of cases) {
    for (const reference of ['v1', image.manifest.digest]) {
      for (const method of ['GET', 'HEAD']) {
        const message = `${method} ${reference} ${[accept].flat().join()}`;
        const answer = await get(`${mirror.url}/v2/app/manifests/${reference}`, {
          method,
          headers: { Accept: accept },
        });
        t.is(answer.status, status, message);
        if (status === 200) {
          t.is(answer.headers['content-type'], type, message);
        } else {
          t.is(answer.headers['content-type'], 'application/json', message);
          if (method === 'GET') t.is(codeOf(answer.body), 'MANIFEST_UNKNOWN', message);
        }
      }
    }
  }
  t.is((await ask('/v2/app/manifests/v1')).status, 200);
});

test('what depends on Accept says so, and nothing else does', async (t) => {
  const { ask, image, mirror } = await createWorld(t);
  const { digest } = image.manifest;
  const varyOf = async (path: string, headers: Record<string, string> = {}, method = 'GET') => {
    const answer = await get(`${mirror.url}/v2/app/${path}`, { method, headers });
    return [answer.status, answer.headers.vary];
  };
  t.is((await ask('/v2/app/manifests/v1')).status, 200);
  for (const reference of ['v1', digest]) {
    const path = `manifests/${reference}`;
    t.deepEqual(await varyOf(path), [200, 'Accept']);
    t.deepEqual(await varyOf(path, {}, 'HEAD'), [200, 'Accept']);
    t.deepEqual(await varyOf(path, { 'If-None-Match': `"${digest}"` }), [304, 'Accept']);
    t.deepEqual(await varyOf(path, { Accept: 'text/html' }), [404, 'Accept']);
  }
  t.deepEqual(await varyOf('manifests/missing'), [404, undefined]);
  t.deepEqual(await varyOf(`blobs/${image.config.digest}`), [200, undefined]);
  t.deepEqual(await varyOf('tags/list'), [200, undefined]);
});

test('bytes are exact: odd JSON, binary and large contents come as they are', async (t) => {
  const { ask, registry, image } = await createWorld(t);
  t.regex(image.manifest.bytes.toString(), /\s\t/, 'the manifest is laid out oddly');
  const odd = store(
    `\n{"schemaVersion":2 ,"mediaType":"${MEDIA_TYPES.manifest}","x":1e2,"\\u0061":"\\/",` +
      `"config":{"mediaType":"a","digest":"${image.config.digest}","size":1},"layers":[ ],"x":1.0}\n\n`,
    MEDIA_TYPES.manifest,
  );
  registry.addManifest('app', odd, { tags: ['odd'] });
  const foreign = store(
    odd.bytes.toString().replace('1e2', '"Größe 貨物 🚢"'),
    MEDIA_TYPES.manifest,
  );
  registry.addManifest('app', foreign, { tags: ['foreign'] });
  const contents: [string, Stored][] = [
    ['manifests/foreign', foreign],
    ['manifests/odd', odd],
    [`manifests/${odd.digest}`, odd],
    ['manifests/v1', image.manifest],
  ];
  for (const size of [0, 1, 2, 65_535, 65_536, 65_537, 1_048_576, 3_000_001]) {
    const blob = registry.addBlob('app', buildBlob(`exact ${size}`, size));
    contents.push([`blobs/${blob.digest}`, blob]);
  }
  for (const [path, stored] of contents) {
    for (const state of ['miss', 'hit']) {
      const answer = await ask(`/v2/app/${path}`);
      t.is(answer.status, 200, `${state} ${path}`);
      t.true(answer.body.equals(stored.bytes), `${state} ${path}`);
    }
  }
});

test('sha512 digests are fetched, verified and echoed', async (t) => {
  const { ask, registry, image } = await createWorld(t);
  const bytes = randomBytes('sha512', 5000);
  const blob: Stored = {
    digest: digestOf(bytes, 'sha512'),
    size: bytes.length,
    mediaType: MEDIA_TYPES.blob,
    bytes,
  };
  const manifest: Stored = {
    ...image.manifest,
    digest: digestOf(image.manifest.bytes, 'sha512'),
  };
  registry.addBlob('app', blob);
  registry.addManifest('app', manifest);
  for (const state of ['miss', 'hit']) {
    for (const [path, stored] of [
      [`blobs/${blob.digest}`, blob],
      [`manifests/${manifest.digest}`, manifest],
    ] as const) {
      const answer = await ask(`/v2/app/${path}`);
      t.is(answer.status, 200, state);
      t.is(answer.headers['docker-content-digest'], stored.digest, state);
      t.deepEqual(answer.body, stored.bytes, state);
    }
  }
  const wrong = registry.addBlob('app', { ...blob, digest: `sha512:${'a'.repeat(128)}` });
  await t.throwsAsync(ask(`/v2/app/blobs/${wrong.digest}`), { name: 'TruncatedError' });
});

const WRITES: [string, string][] = [
  ['POST', '/v2/app/blobs/uploads/'],
  ['POST', '/v2/app/blobs/uploads/?mount=sha256:x&from=other'],
  ['PATCH', '/v2/app/blobs/uploads/1234'],
  ['PUT', '/v2/app/blobs/uploads/1234?digest=sha256:x'],
  ['PUT', '/v2/app/manifests/v1'],
  ['DELETE', '/v2/app/manifests/v1'],
  ['DELETE', '/v2/app/blobs/sha256:x'],
  ['POST', '/v2/missing/blobs/uploads/'],
  ['POST', '/v2/BAD NAME/blobs/uploads/'.replace(' ', '%20')],
  ['PUT', '/v2/'],
  ['DELETE', '/'],
  ['OPTIONS', '/v2/'],
  ['TRACE', '/v2/'],
  ['PROPFIND', '/v2/app/manifests/v1'],
];

test('every write is 405 UNSUPPORTED with Allow, the same for all names', async (t) => {
  const { ask, registry } = await createWorld(t);
  const seen = new Set<string>();
  for (const [method, path] of WRITES) {
    for (const body of [undefined, 'x'.repeat(100), 'x'.repeat(300_000)]) {
      if (method === 'TRACE' && body !== undefined) continue;
      const message = `${method} ${path} ${body?.length}`;
      const answer = await ask(path, {
        method,
        ...(body !== undefined && { body, headers: { 'Content-Length': String(body.length) } }),
      });
      t.is(answer.status, 405, message);
      t.is(answer.headers['allow'], 'GET, HEAD', message);
      t.is(answer.headers['content-type'], 'application/json', message);
      t.is(answer.headers['www-authenticate'], undefined, message);
      t.is(answer.headers['oci-namespace'], undefined, message);
      t.is(codeOf(answer.body), 'UNSUPPORTED', message);
      seen.add(answer.body.toString());
    }
  }
  t.is(seen.size, 1);
  t.is(registry.connections, 0);
});

test('a write with a body leaves no bytes behind that pass for a request', async (t) => {
  const { mirror } = await createWorld(t);
  const port = Number(new URL(mirror.url).port);
  const smuggled = 'GET /v2/smuggled/manifests/v1 HTTP/1.1\r\nHost: m\r\n\r\n';
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
    const framings = [
      `Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
      `Transfer-Encoding: chunked\r\n\r\n${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`,
      `Content-Length: 1000000\r\n\r\n${smuggled}`,
    ];
    for (const framing of framings) {
      const text = `${method} /v2/app/blobs/uploads/ HTTP/1.1\r\nHost: m\r\n${framing}`;
      const answers = parseAnswers(
        await rawRequest(port, `${text}GET /v2/ HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n`),
      );
      t.is(answers[0]?.status, 405);
      for (const { body, status } of answers.slice(1)) {
        t.is(status, 200);
        t.is(body, '{}');
      }
    }
  }
});

test('a client that keeps its connection may write, be refused, and read on', async (t) => {
  const { mirror, layer } = await createWorld(t);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  for (const body of ['', 'x'.repeat(1000)]) {
    const options = { agent, headers: { 'Content-Length': String(body.length) }, body };
    const refused = await get(`${mirror.url}/v2/app/blobs/uploads/`, {
      ...options,
      method: 'POST',
    });
    t.is(refused.status, 405);
    const read = await get(`${mirror.url}/v2/app/blobs/${layer.digest}`, { agent });
    t.deepEqual(read.body, layer.bytes);
  }
});

test('OCI-Namespace names the upstream that was meant, however it was named', async (t) => {
  const { ask, layer } = await createWorld(t);
  for (const path of [
    '/v2/app/manifests/v1',
    `/v2/app/manifests/v1?ns=${NAME}`,
    `/v2/${NAME}/app/manifests/v1`,
    `/v2/${NAME}/app/manifests/v1?ns=${NAME}`,
    `/${NAME}/v2/app/manifests/v1`,
    `/v2/app/blobs/${layer.digest}`,
    '/v2/app/tags/list',
    `/v2/app/referrers/${layer.digest}`,
    '/v2/app/manifests/missing',
  ]) {
    t.is((await ask(path)).headers['oci-namespace'], NAME, path);
  }
  t.is((await ask('/v2/app/manifests/v1?ns=other.example')).headers['oci-namespace'], undefined);
});

test('a repository may contain the keywords of the protocol', async (t) => {
  const { ask, registry } = await createWorld(t);
  const names = [
    'manifests',
    'a/manifests/b',
    'a/blobs/b',
    'tags/list',
    'a/tags/list/blobs',
    'v2',
    'a/v2/b',
  ];
  for (const [seed, name] of names.entries()) {
    const image = buildImage({ seed: `keyword ${seed}`, layers: [10] });
    registry.addImage(name, 'v1', image);
    t.deepEqual((await ask(`/v2/${name}/manifests/v1`)).body, image.manifest.bytes, name);
    const { digest, bytes } = image.layer(0);
    t.deepEqual((await ask(`/v2/${name}/blobs/${digest}`)).body, bytes, name);
    const list = JSON.parse((await ask(`/v2/${name}/tags/list`)).body.toString()) as unknown;
    t.deepEqual(list, { name, tags: ['v1'] });
  }
});

test('Cache-Status and Age say where an answer came from and how old it is', async (t) => {
  let now = 1_700_000_000_000;
  const world = await createWorld(t, {
    tags: { ttlMs: 60_000, negativeTtlMs: 60_000 },
    clock: clockOf(() => now),
  });
  const { ask, registry, layer, image } = world;
  const tell = async (path: string, options?: GetOptions): Promise<(string | undefined)[]> => {
    const { headers } = await ask(path, options);
    return [headers['cache-status'] as string | undefined, headers.age];
  };
  const tag = '/v2/app/manifests/v1';
  const blob = `/v2/app/blobs/${layer.digest}`;
  t.deepEqual((await tell(blob, { method: 'HEAD' }))[0], 'entrepot; fwd=miss');
  t.deepEqual((await tell(blob))[0], 'entrepot; fwd=miss; stored');
  t.deepEqual((await tell(blob))[0], 'entrepot; hit');
  t.deepEqual((await tell(blob, { method: 'HEAD' }))[0], 'entrepot; hit');
  t.deepEqual((await tell(tag))[0], 'entrepot; fwd=miss; stored');
  t.deepEqual(await tell(tag), ['entrepot; hit', '0']);
  now += 42_900;
  t.deepEqual(await tell(tag), ['entrepot; hit', '42']);
  t.deepEqual(await tell(`/v2/app/manifests/${image.manifest.digest}`), ['entrepot; hit', '42']);
  now += 60_000;
  t.deepEqual(await tell(tag), ['entrepot; hit; detail=revalidated', '0']);
  const missing = '/v2/app/manifests/missing';
  await tell(missing);
  t.is((await tell(missing))[0], 'entrepot; hit; detail=negative');
  now += 61_000;
  await registry.refuse();
  const stale = await ask(tag);
  t.is(stale.status, 200);
  t.is(stale.headers['cache-status'], 'entrepot; hit; detail=stale');
  t.is(stale.headers['age'], '61');
  t.regex(stale.headers['warning'] ?? '', /^299 - "[^"]*registry\.example[^"]*"$/);
  t.deepEqual(stale.body, image.manifest.bytes);
});

test('who joins a running download is told that it was collapsed', async (t) => {
  const { ask, registry, layer } = await createWorld(t);
  const gate = registry.hold(layer, { after: 100 });
  const path = `/v2/app/blobs/${layer.digest}`;
  const first = ask(path);
  await gate.arrived();
  const second = ask(path);
  await registry.seen(layer);
  const third = ask(path, { method: 'HEAD' });
  t.is((await third).status, 200);
  gate.open();
  const states = (await Promise.all([first, second])).map(({ headers }) => headers['cache-status']);
  t.deepEqual(states, ['entrepot; fwd=miss; stored', 'entrepot; fwd=miss; collapsed']);
});

const TAGS = ['1.0', '1.1', '2.0', 'A', 'Z', '_x', 'a', 'latest'];

async function createTagged(t: ExecutionContext): Promise<World> {
  const world = await createWorld(t);
  const image = buildImage({ seed: 'tags', layers: [10] });
  world.registry.addImage('tagged', undefined, image);
  for (const tag of TAGS.toReversed()) world.registry.tag('tagged', tag, image.manifest);
  return world;
}

function tagsOf(answer: ClientAnswer): unknown {
  return JSON.parse(answer.body.toString());
}

test('tags/list is the whole list in byte order, cut by n and last', async (t) => {
  const { ask } = await createTagged(t);
  const cases: [string, readonly string[], string | undefined][] = [
    ['', TAGS, undefined],
    ['?n=3', TAGS.slice(0, 3), '2.0'],
    ['?n=3&last=2.0', TAGS.slice(3, 6), '_x'],
    ['?n=3&last=_x', TAGS.slice(6), undefined],
    ['?n=8', TAGS, undefined],
    ['?n=9', TAGS, undefined],
    ['?n=5000', TAGS, undefined],
    ['?last=B', TAGS.slice(4), undefined],
    ['?last=latest', [], undefined],
    ['?last=zzz&n=2', [], undefined],
    ['?last=', TAGS, undefined],
    ['?n=0', [], undefined],
    ['?n=0&last=A', [], undefined],
    ['?n=1', ['1.0'], '1.0'],
  ];
  for (const [query, tags, last] of cases) {
    const answer = await ask(`/v2/tagged/tags/list${query}`);
    t.is(answer.status, 200, query);
    t.is(answer.headers['content-type'], 'application/json', query);
    t.is(answer.headers['content-length'], String(answer.body.length), query);
    t.deepEqual(tagsOf(answer), { name: 'tagged', tags }, query);
    const link = answer.headers['link'];
    if (last === undefined) t.is(link, undefined, query);
    else t.is(link, `</v2/tagged/tags/list?n=${tags.length}&last=${last}>; rel="next"`, query);
  }
});

test('following the links of tags/list gives every tag once, and ns stays in them', async (t) => {
  const { ask } = await createTagged(t);
  for (const start of [
    '/v2/tagged/tags/list?n=3',
    `/v2/tagged/tags/list?ns=${NAME}&n=3`,
    `/v2/${NAME}/tagged/tags/list?n=1`,
    `/${NAME}/v2/tagged/tags/list?n=7`,
  ]) {
    const seen: string[] = [];
    for (let next: string | undefined = start; next !== undefined;) {
      const answer = await ask(next);
      seen.push(...(tagsOf(answer) as { tags: string[] }).tags);
      next = /^<(\/[^>]+)>; rel="next"$/.exec(String(answer.headers['link']))?.[1];
      if (next !== undefined && start.includes('ns=')) {
        t.is(new URL(next, 'http://m').searchParams.get('ns'), NAME);
      }
    }
    t.deepEqual(seen, TAGS, start);
  }
});

test('more than 1000 tags come in pages when asked for more at once', async (t) => {
  const { ask, registry } = await createTagged(t);
  const image = buildImage({ seed: 'tags', layers: [10] });
  const tags = Array.from({ length: 1500 }, (_, index) => `t${String(index).padStart(4, '0')}`);
  registry.addImage('many', undefined, image);
  for (const tag of tags) registry.tag('many', tag, image.manifest);
  const answer = await ask('/v2/many/tags/list?n=1200');
  t.deepEqual(tagsOf(answer), { name: 'many', tags: tags.slice(0, 1000) });
  t.is(answer.headers['link'], '</v2/many/tags/list?n=1000&last=t0999>; rel="next"');
});

test('what the upstream does not have is 404 with the code of its kind, HEAD without a body', async (t) => {
  const { ask } = await createWorld(t);
  const digest = `sha256:${'0'.repeat(64)}`;
  for (const [path, code] of [
    ['/v2/app/manifests/missing', 'MANIFEST_UNKNOWN'],
    [`/v2/app/manifests/${digest}`, 'MANIFEST_UNKNOWN'],
    [`/v2/app/blobs/${digest}`, 'BLOB_UNKNOWN'],
  ] as const) {
    const answer = await ask(path);
    t.is(answer.status, 404, path);
    t.is(answer.headers['content-type'], 'application/json', path);
    t.is(codeOf(answer.body), code, path);
    t.is(answer.headers['cache-status'], 'entrepot; fwd=miss', path);
    t.is(answer.headers['docker-content-digest'], undefined, path);
    t.is(answer.headers['etag'], undefined, path);
    const head = await ask(path, { method: 'HEAD' });
    t.is(head.status, 404, path);
    t.is(head.body.length, 0, path);
  }
});

test('a schema 1 manifest is refused and never served', async (t) => {
  const { ask, registry } = await createWorld(t);
  const type = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
  registry.addManifest('old', store('{"schemaVersion":1,"name":"old"}', type), { tags: ['v1'] });
  const answer = await ask('/v2/old/manifests/v1');
  t.is(answer.status, 502);
  t.is(codeOf(answer.body), 'UNAVAILABLE');
  t.regex(answer.body.toString(), /schema 1/);
});

test('the same digest pulled through two repositories at once is kept for both', async (t) => {
  const { mirror, registry, image } = await createWorld(t);
  const names = ['one', 'two', 'three'];
  for (const name of names) registry.addImage(name, 'v1', image);
  const path = new RegExp(`/manifests/${image.manifest.digest}$`);
  const gate = registry.hold(path, { times: 3, method: 'GET' });
  const answering = names.map(async (name) =>
    get(`${mirror.url}/v2/${name}/manifests/${image.manifest.digest}`),
  );
  await gate.arrived(3);
  gate.open();
  for (const answer of await Promise.all(answering)) {
    t.is(answer.status, 200);
    t.deepEqual(answer.body, image.manifest.bytes);
    t.is(answer.headers['cache-status'], 'entrepot; fwd=miss; stored');
  }
  t.deepEqual(
    mirror.log.filter(({ level }) => level === 'error' || level === 'fatal'),
    [],
  );
});
