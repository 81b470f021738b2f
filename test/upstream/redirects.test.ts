import test from 'ava';
import { DialGuard } from '../../src/net/dial-guard.ts';
import { followRedirect } from '../../src/upstream/registry-sender.ts';
import { createCertificates } from '../helpers/certificate.ts';
import { watchDials } from '../helpers/dials.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { REPOSITORY, UPSTREAM, redirectRefusal, refusalOf, startScene } from '../helpers/scene.ts';

const dials = watchDials();
const USER = { username: 'robot', password: 'pass:word' };
const HEAD_LATEST = `HEAD /v2/${REPOSITORY}/manifests/latest`;
const GET_LAYER = `GET /v2/${REPOSITORY}/blobs/<app.layer1>`;
const STORED_LAYER = 'GET storage /blobs/<app.layer1>';
const always = { times: Infinity };

function shown({ requests }: FakeRegistry): string[] {
  return requests.map(
    ({ origin, method, authorization }) => `${origin} ${method} ${authorization}`,
  );
}

// Where redirects are followed

for (const status of [301, 302, 303, 307, 308] as const) {
  test(`a ${status} to another origin is followed, and the redirect is not kept`, async (t) => {
    const { registry, blob, image } = await startScene(t, { registry: { redirectBlobs: status } });
    t.deepEqual((await blob(image.layer(1))).body, image.layer(1).bytes);
    t.deepEqual((await blob(image.layer(0))).body, image.layer(0).bytes);
    t.deepEqual(registry.conversation(), [
      GET_LAYER,
      STORED_LAYER,
      `GET /v2/${REPOSITORY}/blobs/<app.layer0>`,
      'GET storage /blobs/<app.layer0>',
    ]);
  });
}

/** A request target as redirects are signed: each of these is another text when it is written anew. */
const SIGNED = [
  '?sig=a%2Bb+c%2f%2F%3d%3D&se=2026-01-01T00%3A00%3a00Z',
  "?sig='quoted'&x=(a)!*~%7e%7E",
  '?sig=|^`{}[]\\<>"&empty=&&=',
  '?a=b?c=d/e//f/../g',
  '?',
  '',
];

for (const query of SIGNED) {
  test(`a redirect is asked for as it is written, byte for byte: ${query}`, async (t) => {
    const { registry, blob, manifest, image } = await startScene(t);
    const [layer, { manifest: top }] = [image.layer(1), image];
    const paths = [
      `/v2/library/app/blobs/${layer.digest}`,
      `/v2/library/app/manifests/${top.digest}`,
    ];
    for (const [position, path] of paths.entries()) {
      // Absolute and relative, and with what no server is asked for.
      const front = position === 0 ? registry.url : '';
      const Location = `${front}${path.replace(':', '%3a')}${query}#part`;
      registry.status(path, 307, { headers: { Location } });
    }
    t.deepEqual((await blob(layer)).body, layer.bytes);
    t.deepEqual((await manifest(top.digest)).body, top.bytes);
    const asked = registry.requests.map(({ path, search }) => `${path}?${search}`);
    t.deepEqual(
      asked,
      paths.flatMap((path) => [`${path}?`, `${path.replace(':', '%3a')}?${query.slice(1)}`]),
    );
  });
}

test('manifests are followed too, for HEAD and for GET', async (t) => {
  const { registry, manifest, image } = await startScene(t, {
    registry: { redirectManifests: 307 },
  });
  const answer = await manifest('latest');
  t.deepEqual(answer.body, image.manifest.bytes);
  t.is(answer.headers['content-type'], image.manifest.mediaType);
  t.deepEqual(registry.conversation(), [
    HEAD_LATEST,
    'HEAD storage /manifests/<app>',
    `GET /v2/${REPOSITORY}/manifests/<app>`,
    'GET storage /manifests/<app>',
  ]);
});

test('a relative redirect is followed on the same host', async (t) => {
  const { registry, blob, image } = await startScene(t);
  const moved = `/v2/team/moved/blobs/${image.layer(1).digest}`;
  registry.addBlob('team/moved', image.layer(1));
  registry.status(image.layer(1), 307, { headers: { Location: moved } });
  t.deepEqual((await blob(image.layer(1))).body, image.layer(1).bytes);
  t.deepEqual(registry.conversation(), [GET_LAYER, 'GET /v2/team/moved/blobs/<app.layer1>']);
});

test('nine hops on the way are followed', async (t) => {
  const { registry, blob, image } = await startScene(t);
  const { digest } = image.layer(1);
  const hop = (turn: number): string => `/v2/hops/n${turn}/blobs/${digest}`;
  registry.addBlob('hops/n10', image.layer(1));
  registry.status(`/v2/${REPOSITORY}/blobs/${digest}`, 307, { headers: { Location: hop(1) } });
  for (let turn = 1; turn < 10; turn += 1) {
    registry.status(hop(turn), 307, { headers: { Location: hop(turn + 1) } });
  }
  t.deepEqual((await blob(image.layer(1))).body, image.layer(1).bytes);
  t.is(registry.requests.length, 11);
});

// What goes along

test('Authorization stays with the registry', async (t) => {
  const { registry, manifest, blob, image } = await startScene(t, {
    registry: {
      auth: { kind: 'bearer', ...USER },
      redirectBlobs: 307,
      redirectManifests: 307,
    },
    upstream: { credentials: USER },
  });
  t.is((await manifest('latest')).status, 200);
  t.deepEqual((await blob(image.layer(1))).body, image.layer(1).bytes);
  t.deepEqual(shown(registry), [
    'registry GET none',
    'token GET basic:robot',
    'registry HEAD bearer:robot',
    'storage HEAD none',
    'registry GET bearer:robot',
    'storage GET none',
    'registry GET bearer:robot',
    'storage GET none',
  ]);
});

test('Basic credentials stay with the registry', async (t) => {
  const { registry, blob, image } = await startScene(t, {
    registry: { auth: { kind: 'basic', ...USER }, redirectBlobs: 307, storageHost: 'localhost' },
    upstream: { credentials: USER },
  });
  t.deepEqual((await blob(image.layer(1))).body, image.layer(1).bytes);
  t.deepEqual(shown(registry), [
    'registry GET none',
    'registry GET basic:robot',
    'storage GET none',
  ]);
});

test('Authorization goes along to another path of the registry itself', async (t) => {
  const { registry, blob, image } = await startScene(t, {
    registry: { auth: { kind: 'basic', ...USER } },
    upstream: { credentials: USER },
  });
  registry.addBlob('team/moved', image.layer(1));
  const moved = `/v2/team/moved/blobs/${image.layer(1).digest}`;
  registry.status(image.layer(1), 307, { headers: { Location: moved } });
  t.deepEqual((await blob(image.layer(1))).body, image.layer(1).bytes);
  t.deepEqual(shown(registry), [
    'registry GET none',
    'registry GET basic:robot',
    'registry GET basic:robot',
  ]);
});

for (const kind of ['basic', 'bearer'] as const) {
  test(`a host that was redirected to and asks for a ${kind} login gets none of ours, and changes nothing for the registry`, async (t) => {
    const thief = await FakeRegistry.start(t, { auth: { kind, ...USER } });
    const { registry, manifest, blob, image } = await startScene(t, {
      registry: { auth: { kind: 'bearer', ...USER } },
      upstream: { credentials: USER },
    });
    t.is((await manifest('latest')).status, 200);
    registry.clear();
    const elsewhere = `${thief.url}/v2/team/moved/blobs/${image.layer(1).digest}`;
    registry.status(image.layer(1), 307, { ...always, headers: { Location: elsewhere } });
    const answer = await blob(image.layer(1));
    t.is(answer.status, 403);
    t.true(String(refusalOf(answer)['message']).includes(thief.host));
    const asAnybody = ['token GET none', 'registry GET bearer:anonymous'];
    t.deepEqual(shown(thief), ['registry GET none', ...(kind === 'bearer' ? asAnybody : [])]);
    t.deepEqual(shown(registry), ['registry GET bearer:robot']);
    registry.heal();
    registry.clear();
    t.is((await blob(image.layer(1))).status, 200);
    t.deepEqual(shown(registry), ['registry GET bearer:robot']);
  });
}

test('Range is kept across a redirect, when a broken transfer goes on', async (t) => {
  const { registry, blob, image } = await startScene(t, { registry: { redirectBlobs: 307 } });
  registry.cut(image.layer(1), { after: 500 });
  t.deepEqual((await blob(image.layer(1))).body, image.layer(1).bytes);
  t.deepEqual(registry.conversation(), [
    GET_LAYER,
    STORED_LAYER,
    `${GET_LAYER} bytes=500-1999`,
    `${STORED_LAYER} bytes=500-1999`,
  ]);
});

test('an address whose signature expired midway is asked for anew at the registry', async (t) => {
  const { registry, blob, image } = await startScene(t, { registry: { redirectBlobs: 307 } });
  const gate = registry.hold(image.layer(1), { after: 500 });
  registry.cut(image.layer(1), { after: 500 });
  const answering = blob(image.layer(1));
  await gate.arrived();
  registry.expireSignatures();
  gate.open();
  t.deepEqual((await answering).body, image.layer(1).bytes);
  t.deepEqual(registry.conversation(), [
    GET_LAYER,
    STORED_LAYER,
    `${GET_LAYER} bytes=500-1999`,
    `${STORED_LAYER} bytes=500-1999`,
  ]);
});

test('a signed address that is refused at once is asked for anew, once', async (t) => {
  const { registry, blob, image } = await startScene(t, { registry: { redirectBlobs: 307 } });
  registry.status(image.layer(1), 403, { origin: 'storage' });
  const answer = await blob(image.layer(1));
  t.is(answer.status, 200);
  t.true(answer.body.equals(image.layer(1).bytes));
  t.deepEqual(registry.conversation(), [GET_LAYER, STORED_LAYER, GET_LAYER, STORED_LAYER]);
});

test('storage that is gone is 502, named in the message', async (t) => {
  const elsewhere = await FakeRegistry.start(t);
  const { host, url } = elsewhere;
  await elsewhere.refuse();
  const { registry, blob, image } = await startScene(t);
  registry.status(image.layer(1), 307, { ...always, headers: { Location: `${url}/gone` } });
  t.deepEqual(refusalOf(await blob(image.layer(1))), {
    status: 502,
    code: 'UNAVAILABLE',
    message: `${UPSTREAM}: no connection to ${host} (ECONNREFUSED)`,
    detail: { upstream: UPSTREAM, fault: 'unreachable' },
  });
});

// Where they are not

interface Refusal {
  readonly claim: string;
  readonly location: string | undefined;
  readonly reason: string;
  /** What a dial there would be seen as. */
  readonly address?: string;
}

// Not the metadata service itself: where the promise is broken, a test must not ask it.
const REFUSALS: Refusal[] = [
  { claim: 'to a file', location: 'file:///etc/passwd', reason: 'a redirect to a file: URL' },
  { claim: 'to ftp', location: 'ftp://storage.example/x', reason: 'a redirect to a ftp: URL' },
  { claim: 'to data', location: 'data:text/plain,x', reason: 'a redirect to a data: URL' },
  {
    claim: 'to a link-local address',
    location: 'http://169.254.77.77/latest',
    reason: `a redirect to the internal address 169.254.77.77; if that is meant, list it in upstreams.${UPSTREAM}.storage`,
    address: '169.254.77.77:80',
  },
  {
    claim: 'to a link-local address, written as a number',
    location: 'http://2852015438/latest',
    reason: `a redirect to the internal address 169.254.77.78; if that is meant, list it in upstreams.${UPSTREAM}.storage`,
    address: '169.254.77.78:80',
  },
  {
    claim: 'to a link-local address, embedded in IPv6',
    location: 'http://[::ffff:169.254.77.77]/latest',
    reason: `a redirect to the internal address [::ffff:a9fe:4d4d]; if that is meant, list it in upstreams.${UPSTREAM}.storage`,
    address: '::ffff:a9fe:4d4d:80',
  },
  {
    claim: 'to a link-local IPv6 address',
    location: 'http://[fe80::1]/x',
    reason: `a redirect to the internal address [fe80::1]; if that is meant, list it in upstreams.${UPSTREAM}.storage`,
    address: 'fe80::1:80',
  },
  { claim: 'without Location', location: undefined, reason: 'a redirect without Location' },
  {
    claim: 'to what is no URL',
    location: 'http://[/x',
    reason: 'a redirect to something that is no URL',
  },
];

test('no redirect leads to the metadata service, whoever sends it and however it is written', (t) => {
  const ways = ['169.254.169.254', '2852039166', '0xa9fea9fe', '[::ffff:169.254.169.254]'];
  for (const from of [
    'https://registry.example/v2/',
    'http://10.0.0.5/v2/',
    'http://127.0.0.1/v2/',
  ]) {
    const config = { name: 'registry.example', url: from, storage: [], realms: [] };
    const guard = new DialGuard({ config });
    for (const way of ways) {
      const to = followRedirect(new URL(from), `${from.split(':')[0]}://${way}/latest`);
      t.is(typeof guard.refusal('storage', to as URL), 'string', `${from} ${way}`);
    }
  }
});

for (const { claim, location, reason, address = 'unresolved' } of REFUSALS) {
  // Alone, since a socket of another test has no address yet for a moment.
  test.serial(
    `a redirect ${claim} is refused with the reason, and nobody is dialled`,
    async (t) => {
      const { registry, manifest, blob, image } = await startScene(t);
      const headers = { ...(location !== undefined && { Location: location }) };
      registry.status(/^\/v2\//, 307, { ...always, headers });
      for (const answer of [await manifest('latest'), await blob(image.layer(1))]) {
        t.deepEqual(refusalOf(answer), redirectRefusal(reason));
      }
      t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_LAYER]);
      t.false(dials.outside().includes(address));
    },
  );
}

test('redirects in a circle end after ten, as 502', async (t) => {
  const { registry, blob, image } = await startScene(t);
  const path = `/v2/${REPOSITORY}/blobs/${image.layer(1).digest}`;
  registry.status(path, 307, { ...always, headers: { Location: path } });
  t.deepEqual(refusalOf(await blob(image.layer(1))), {
    status: 502,
    code: 'UNAVAILABLE',
    message: `${UPSTREAM}: more than 10 redirects`,
    detail: { upstream: UPSTREAM, fault: 'bad-response' },
  });
  t.deepEqual(
    registry.conversation(),
    Array.from({ length: 11 }, () => GET_LAYER),
  );
});

test('a redirect from https to http is refused, and nobody is dialled', async (t) => {
  const { ca, server } = await createCertificates();
  const thief = await FakeRegistry.start(t);
  const { registry, blob, image } = await startScene(t, {
    registry: { tls: server },
    upstream: { tls: { ca: ca.toString(), insecure: false } },
  });
  registry.status(image.layer(1), 307, { ...always, headers: { Location: `${thief.url}/x` } });
  t.deepEqual(
    refusalOf(await blob(image.layer(1))),
    redirectRefusal(`a redirect from https to http (${thief.host})`),
  );
  t.is(thief.connections, 0);
});
