import test from 'ava';
import type { ExecutionContext } from 'ava';
import { get, rawRequest } from '../helpers/client.ts';
import { watchDials } from '../helpers/dials.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import { startMirror, type TestMirror, type UpstreamOptions } from '../helpers/mirror.ts';
import { refusalOf, type Ask } from '../helpers/scene.ts';

const dials = watchDials();

interface World {
  /** By the name of the upstream. */
  readonly registries: ReadonlyMap<string, FakeRegistry>;
  readonly mirror: TestMirror;
  readonly image: Image;
  readonly ask: Ask;
  /** What every upstream was asked, each line led by its name. */
  readonly conversation: () => string[];
}

const UPSTREAMS = ['docker.io', 'ghcr.io', 'reg.example:5000'] as const;

async function startWorld(
  t: ExecutionContext,
  options: Partial<Record<string, Partial<UpstreamOptions>>> = {},
): Promise<World> {
  const image = buildImage({ seed: 'app', layers: [10] });
  const registries = new Map<string, FakeRegistry>();
  for (const name of UPSTREAMS) {
    const registry = await FakeRegistry.start(t);
    for (const repository of ['library/app', 'org/app', 'app', 'ghcr.io/org/app']) {
      registry.addImage(repository, 'latest', image, { name: 'app' });
    }
    dials.allow(registry.url);
    registries.set(name, registry);
  }
  const mirror = await startMirror(t, {
    upstreams: Object.fromEntries(
      UPSTREAMS.map((name) => [name, { ...options[name], url: registries.get(name)?.url ?? '' }]),
    ),
  });
  dials.allow(mirror.url);
  return {
    registries,
    mirror,
    image,
    ask: async (path, request) => get(`${mirror.url}${path}`, request),
    conversation: () =>
      [...registries].flatMap(([name, registry]) =>
        registry.conversation().map((line) => `${name}: ${line}`),
      ),
  };
}

// Where a request goes

interface Form {
  readonly path: string;
  readonly host?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Upstream and repository that it means. */
  readonly means: readonly [upstream: (typeof UPSTREAMS)[number], repository: string];
}

const HOSTS = {
  'docker.io': { hosts: ['hub.mirror.example'] },
  'ghcr.io': { hosts: ['ghcr.mirror.example', 'ghcr.mirror.example:8443'] },
};

const FORMS: Form[] = [
  // Docker's registry-mirrors: the default upstream
  { path: '/v2/library/app/*', means: ['docker.io', 'library/app'] },
  { path: '/v2/org/app/*', means: ['docker.io', 'org/app'] },
  { path: '/v2/app/*', means: ['docker.io', 'library/app'] },
  // containerd: ns
  { path: '/v2/org/app/*?ns=ghcr.io', means: ['ghcr.io', 'org/app'] },
  { path: '/v2/org/app/*?ns=GHCR.IO', means: ['ghcr.io', 'org/app'] },
  { path: '/v2/org/app/*?ns=', means: ['docker.io', 'org/app'] },
  { path: '/v2/library/app/*?ns=docker.io', means: ['docker.io', 'library/app'] },
  { path: '/v2/library/app/*?ns=index.docker.io', means: ['docker.io', 'library/app'] },
  { path: '/v2/library/app/*?ns=registry-1.docker.io', means: ['docker.io', 'library/app'] },
  { path: '/v2/app/*?ns=docker.io', means: ['docker.io', 'library/app'] },
  { path: '/v2/app/*?ns=ghcr.io', means: ['ghcr.io', 'app'] },
  { path: '/v2/app/*?ns=reg.example:5000', means: ['reg.example:5000', 'app'] },
  { path: '/v2/app/*?ns=reg.example%3A5000', means: ['reg.example:5000', 'app'] },
  { path: '/v2/app/*?ns=reg.example_5000', means: ['reg.example:5000', 'app'] },
  { path: '/v2/app/*?last=x&ns=ghcr.io', means: ['ghcr.io', 'app'] },
  // The port that https has anyway, and that http has where the registry is reached by it
  { path: '/v2/org/app/*?ns=ghcr.io:443', means: ['ghcr.io', 'org/app'] },
  { path: '/v2/org/app/*?ns=GHCR.io:443', means: ['ghcr.io', 'org/app'] },
  { path: '/v2/org/app/*?ns=ghcr.io:80', means: ['ghcr.io', 'org/app'] },
  { path: '/v2/app/*?ns=index.docker.io:443', means: ['docker.io', 'library/app'] },
  { path: '/v2/ghcr.io:443/org/app/*', means: ['ghcr.io', 'org/app'] },
  { path: '/v2/ghcr.io_443/org/app/*', means: ['ghcr.io', 'org/app'] },
  { path: '/v2/GHCR.io/org/app/*', means: ['ghcr.io', 'org/app'] },
  { path: '/ghcr.io:443/v2/org/app/*', means: ['ghcr.io', 'org/app'] },
  { path: '/GHCR.io/v2/org/app/*', means: ['ghcr.io', 'org/app'] },
  { path: '/v2/ghcr.io:443/org/app/*?ns=ghcr.io', means: ['ghcr.io', 'org/app'] },
  { path: '/v2/org/app/*', host: 'ghcr.mirror.example:443', means: ['ghcr.io', 'org/app'] },
  // The header of the spec counts after ns
  {
    path: '/v2/org/app/*',
    headers: { 'oci-namespace': 'ghcr.io' },
    means: ['ghcr.io', 'org/app'],
  },
  {
    path: '/v2/org/app/*?ns=ghcr.io',
    headers: { 'oci-namespace': 'docker.io' },
    means: ['ghcr.io', 'org/app'],
  },
  {
    path: '/v2/ghcr.io/org/app/*',
    headers: { 'oci-namespace': 'GHCR.io:443' },
    means: ['ghcr.io', 'org/app'],
  },
  // ns, with the same name in front of the path
  { path: '/v2/ghcr.io/org/app/*?ns=ghcr.io', means: ['ghcr.io', 'org/app'] },
  { path: '/v2/docker.io/app/*?ns=docker.io', means: ['docker.io', 'library/app'] },
  { path: '/v2/index.docker.io/app/*?ns=docker.io', means: ['docker.io', 'library/app'] },
  { path: '/v2/reg.example_5000/app/*?ns=reg.example:5000', means: ['reg.example:5000', 'app'] },
  // ns, with another upstream's name in front: ns decides, and the name is part of the repository
  { path: '/v2/ghcr.io/org/app/*?ns=docker.io', means: ['docker.io', 'ghcr.io/org/app'] },
  // The first path component
  { path: '/v2/ghcr.io/org/app/*', means: ['ghcr.io', 'org/app'] },
  { path: '/v2/ghcr.io/app/*', means: ['ghcr.io', 'app'] },
  { path: '/v2/docker.io/library/app/*', means: ['docker.io', 'library/app'] },
  { path: '/v2/docker.io/app/*', means: ['docker.io', 'library/app'] },
  { path: '/v2/index.docker.io/app/*', means: ['docker.io', 'library/app'] },
  { path: '/v2/registry-1.docker.io/org/app/*', means: ['docker.io', 'org/app'] },
  { path: '/v2/reg.example_5000/app/*', means: ['reg.example:5000', 'app'] },
  { path: '/v2/reg.example_5000/org/app/*', means: ['reg.example:5000', 'org/app'] },
  // A path before /v2/
  { path: '/ghcr.io/v2/org/app/*', means: ['ghcr.io', 'org/app'] },
  { path: '/docker.io/v2/app/*', means: ['docker.io', 'library/app'] },
  { path: '/reg.example:5000/v2/app/*', means: ['reg.example:5000', 'app'] },
  { path: '/reg.example_5000/v2/app/*', means: ['reg.example:5000', 'app'] },
  { path: '/docker.io/v2/org/app/*?ns=ghcr.io', means: ['ghcr.io', 'org/app'] },
  // The Host header
  { path: '/v2/org/app/*', host: 'ghcr.mirror.example', means: ['ghcr.io', 'org/app'] },
  { path: '/v2/org/app/*', host: 'GHCR.Mirror.Example', means: ['ghcr.io', 'org/app'] },
  { path: '/v2/org/app/*', host: 'ghcr.mirror.example:8443', means: ['ghcr.io', 'org/app'] },
  { path: '/v2/org/app/*', host: 'ghcr.mirror.example:5000', means: ['ghcr.io', 'org/app'] },
  { path: '/v2/app/*', host: 'hub.mirror.example', means: ['docker.io', 'library/app'] },
  { path: '/v2/org/app/*', host: 'mirror.example', means: ['docker.io', 'org/app'] },
  { path: '/v2/org/app/*', host: 'ghcr.io', means: ['docker.io', 'org/app'] },
  { path: '/v2/org/app/*', host: '169.254.169.254', means: ['docker.io', 'org/app'] },
  {
    path: '/v2/app/*?ns=reg.example:5000',
    host: 'ghcr.mirror.example',
    means: ['reg.example:5000', 'app'],
  },
  {
    path: '/v2/reg.example_5000/app/*',
    host: 'ghcr.mirror.example',
    means: ['reg.example:5000', 'app'],
  },
];

test('every form of an address means its upstream and repository, and no other is asked', async (t) => {
  const world = await startWorld(t, HOSTS);
  for (const { path, host, headers, means } of FORMS) {
    for (const registry of world.registries.values()) registry.clear();
    const [upstream, repository] = means;
    const answer = await world.ask(path.replace('*', 'manifests/latest'), {
      headers: { ...headers, ...(host !== undefined && { host }) },
    });
    const form = host === undefined ? path : `${path} at ${host}`;
    t.is(answer.status, 200, form);
    t.is(answer.headers['oci-namespace'], upstream, form);
    t.deepEqual(answer.body, world.image.manifest.bytes, form);
    const [first, ...others] = world.conversation();
    t.is(first, `${upstream}: HEAD /v2/${repository}/manifests/latest`, form);
    // GET, or HEAD where the manifest is already held through another repository.
    const meant = new RegExp(`^${upstream}: (GET|HEAD) /v2/${repository}/manifests/<app>$`);
    for (const line of others) t.regex(line, meant, form);
  }
});

test('every form of an address holds for blobs and lists too', async (t) => {
  const world = await startWorld(t);
  const { digest } = world.image.layer(0);
  const forms = ['/v2/org/app/*?ns=ghcr.io', '/v2/ghcr.io/org/app/*', '/ghcr.io/v2/org/app/*'];
  for (const form of forms) {
    for (const tail of [`blobs/${digest}`, 'tags/list', `referrers/${digest}`]) {
      const answer = await world.ask(form.replace('*', tail));
      t.is(answer.status, 200, `${form} ${tail}`);
      t.is(answer.headers['oci-namespace'], 'ghcr.io');
    }
  }
  t.deepEqual(
    world.conversation().filter((line) => !line.startsWith('ghcr.io: ')),
    [],
  );
});

test('the same content under several addresses is fetched once', async (t) => {
  const world = await startWorld(t);
  const { digest } = world.image.layer(0);
  for (const path of ['/v2/app/*', '/v2/library/app/*', '/v2/docker.io/app/*?ns=index.docker.io']) {
    t.is((await world.ask(path.replace('*', `blobs/${digest}`))).status, 200);
  }
  t.deepEqual(world.conversation(), ['docker.io: GET /v2/library/app/blobs/<app.layer0>']);
});

test('a name without a port and one with the port of its scheme are two registries only where both are configured', async (t) => {
  const image = buildImage({ seed: 'app', layers: [10] });
  const registry = async (): Promise<string> => {
    const fake = await FakeRegistry.start(t);
    fake.addImage('app', 'latest', image, { name: 'app' });
    dials.allow(fake.url);
    return fake.url;
  };
  const [bare, usual, only] = [await registry(), await registry(), await registry()];
  const upstreams = {
    'two.example': { url: bare },
    'two.example:443': { url: usual },
    'one.example:443': { url: only },
  };
  const mirror = await startMirror(t, { upstreams });
  dials.allow(mirror.url);
  for (const name of [...Object.keys(upstreams), 'one.example']) {
    const answer = await get(`${mirror.url}/v2/app/manifests/latest?ns=${name}`);
    const means = name === 'one.example' ? 'one.example:443' : name;
    t.deepEqual([answer.status, answer.headers['oci-namespace']], [200, means], name);
  }
});

test('GET / is 200 for balancers, without asking anybody', async (t) => {
  const world = await startWorld(t);
  for (const method of ['GET', 'HEAD']) {
    t.is((await world.ask('/', { method })).status, 200, method);
  }
  t.deepEqual(world.conversation(), []);
});

test('the ping answers under every address without asking anybody', async (t) => {
  const world = await startWorld(t);
  for (const path of ['/v2/', '/v2', '/v2/?ns=ghcr.io', '/ghcr.io/v2/', '/ghcr.io/v2']) {
    t.is((await world.ask(path)).status, 200, path);
  }
  t.deepEqual(world.conversation(), []);
});

// A closed world

const STRANGERS = [
  '169.254.169.254',
  '169.254.169.254:80',
  'localhost:1',
  'localhost',
  '127.0.0.1:22',
  '[::1]:80',
  'unknown.example',
  'quay.io',
  'docker.io.evil.example',
  'docker.io@evil.example',
  'evil.example#docker.io',
  'http://169.254.169.254/latest/meta-data',
  '../ghcr.io',
  'ghcr.io/',
  'ghcr.io:8443',
  'reg.example',
  'reg.example:443',
  'constructor',
  '__proto__',
  'x'.repeat(3000),
];

function strangerRefusal(stranger: string): Record<string, unknown> {
  return {
    status: 404,
    code: 'NAME_UNKNOWN',
    message: `"${stranger.slice(0, 255)}" is not an upstream of this mirror`,
  };
}

test('an ns that is not configured is 404 with the reason, and nobody is dialled', async (t) => {
  const world = await startWorld(t);
  const { digest } = world.image.layer(0);
  for (const stranger of STRANGERS) {
    const query = `?ns=${encodeURIComponent(stranger)}`;
    for (const tail of [
      'manifests/latest',
      `blobs/${digest}`,
      'tags/list',
      `referrers/${digest}`,
    ]) {
      const answer = await world.ask(`/v2/org/app/${tail}${query}`);
      t.deepEqual(refusalOf(answer), strangerRefusal(stranger));
    }
    t.is((await world.ask(`/v2/org/app/manifests/latest${query}`, { method: 'HEAD' })).status, 404);
  }
  t.deepEqual(world.conversation(), []);
  t.deepEqual(dials.foreign(), []);
});

test('a path before /v2/ that is not configured is 404 with the reason, and nobody is dialled', async (t) => {
  const world = await startWorld(t);
  for (const stranger of ['169.254.169.254', 'localhost:1', 'localhost', 'quay.io', '__proto__']) {
    const answer = await world.ask(`/${stranger}/v2/org/app/manifests/latest`);
    t.deepEqual(refusalOf(answer), strangerRefusal(stranger));
  }
  t.deepEqual(world.conversation(), []);
  t.deepEqual(dials.foreign(), []);
});

test('a path that begins with a registry that is not configured is 404 with the reason, and the default upstream is not asked', async (t) => {
  const world = await startWorld(t);
  for (const stranger of ['169.254.169.254', 'localhost', 'quay.io', 'reg.example_5001']) {
    const answer = await world.ask(`/v2/${stranger}/org/app/manifests/latest`);
    t.deepEqual(refusalOf(answer), strangerRefusal(stranger));
  }
  t.deepEqual(world.conversation(), []);
  t.deepEqual(dials.foreign(), []);
});

test('an absolute request target is no reason to dial it', async (t) => {
  const world = await startWorld(t);
  const port = Number(new URL(world.mirror.url).port);
  const target = 'http://169.254.169.254/v2/org/app/manifests/latest';
  await rawRequest(port, `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  t.deepEqual(
    world.conversation().filter((line) => !line.startsWith('docker.io: ')),
    [],
  );
  t.deepEqual(dials.foreign(), []);
});

test('the host of a whole URL as target counts, and the Host beside it does not', async (t) => {
  const world = await startWorld(t, HOSTS);
  const port = Number(new URL(world.mirror.url).port);
  for (const [target, host, upstream] of [
    ['http://ghcr.mirror.example', 'mirror.example', 'ghcr.io'],
    ['HTTPS://GHCR.Mirror.Example:8443', 'hub.mirror.example', 'ghcr.io'],
    ['http://mirror.example', 'ghcr.mirror.example', 'docker.io'],
  ] as const) {
    for (const registry of world.registries.values()) registry.clear();
    const text = `GET ${target}/v2/org/app/manifests/latest HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
    t.regex(await rawRequest(port, text), /^HTTP\/1\.1 200 /, target);
    const asked = new Set(world.conversation().map((line) => line.split(': ')[0]));
    t.deepEqual(asked, new Set([upstream]), `${target} beside ${host}`);
  }
});

test('a Host that means an upstream may be asked for a repository that looks like a registry', async (t) => {
  const world = await startWorld(t, HOSTS);
  const answer = await world.ask('/v2/example.com/app/manifests/latest', {
    headers: { host: 'ghcr.mirror.example' },
  });
  t.is(answer.status, 404);
  t.deepEqual(world.conversation(), [
    'ghcr.io: HEAD /v2/example.com/app/manifests/latest',
    'ghcr.io: GET /v2/example.com/app/manifests/latest',
  ]);
});

// Names

const BAD_NAMES: [path: string, code: string][] = [
  ['/v2/Org/app/manifests/latest', 'NAME_INVALID'],
  ['/v2/org//app/manifests/latest', 'NAME_INVALID'],
  ['/v2/org/app-/manifests/latest', 'NAME_INVALID'],
  ['/v2/org%2Fapp/manifests/latest', 'NAME_INVALID'],
  ['/v2/ghcr.io%2Forg/app/manifests/latest', 'NAME_INVALID'],
  ['/v2/org%252Fapp/x/manifests/latest', 'NAME_INVALID'],
  ['/v2/../app/manifests/latest', 'NAME_INVALID'],
  ['/v2/ghcr.io/../../app/manifests/latest', 'NAME_INVALID'],
  [`/v2/${'a'.repeat(256)}/manifests/latest`, 'NAME_INVALID'],
  ['/v2/org/app/manifests/sha256:abc', 'DIGEST_INVALID'],
  ['/v2/org/app/blobs/latest', 'DIGEST_INVALID'],
];

test('a tag that cannot be is 404 as registries say, by GET and HEAD, and nobody is asked', async (t) => {
  const world = await startWorld(t);
  for (const tag of ['-latest', '.hidden', 'a b', 'a+b', 'ü', 'v1@latest', 'x'.repeat(129)]) {
    const path = `/v2/org/app/manifests/${encodeURIComponent(tag)}`;
    const answer = await world.ask('/', { path });
    t.like(refusalOf(answer), { status: 404, code: 'MANIFEST_UNKNOWN' }, tag);
    t.is((await world.ask('/', { path, method: 'HEAD' })).status, 404, tag);
  }
  t.deepEqual(world.conversation(), []);
});

test('a name or digest that cannot be is 400, and nobody is asked', async (t) => {
  const world = await startWorld(t);
  for (const [path, code] of BAD_NAMES) {
    t.like(refusalOf(await world.ask('/', { path })), { status: 400, code }, path);
  }
  t.deepEqual(world.conversation(), []);
});

// What may be pulled

const RULES = { 'docker.io': { allow: ['library/*', 'org/**'], deny: ['org/secret', 'org/x/**'] } };

const ALLOWED: [path: string, isAllowed: boolean][] = [
  ['/v2/library/app', true],
  ['/v2/app', true],
  ['/v2/docker.io/app', true],
  ['/v2/library/deep/app', false],
  ['/v2/org/app', true],
  ['/v2/org/deep/app', true],
  ['/v2/org/secret', false],
  ['/v2/org/x/app', false],
  ['/v2/other/app', false],
  ['/v2/ghcr.io/other/app', true],
];

test('allow and deny decide by the upstream and the repository that an address means', async (t) => {
  const world = await startWorld(t, RULES);
  const { digest } = world.image.layer(0);
  for (const [path, isAllowed] of ALLOWED) {
    for (const registry of world.registries.values()) registry.clear();
    const upstream = path.includes('ghcr.io') ? 'ghcr.io' : 'docker.io';
    const repository = path.replace(/^\/v2\/(ghcr\.io\/|docker\.io\/)?/, '');
    const full = repository === 'app' ? 'library/app' : repository;
    for (const tail of ['manifests/never', `blobs/${digest}`, 'tags/list']) {
      const answer = await world.ask(`${path}/${tail}`);
      if (isAllowed) {
        t.not(answer.status, 403, path);
        continue;
      }
      t.deepEqual(refusalOf(answer), {
        status: 403,
        code: 'DENIED',
        message: `${upstream}/${full} is not among the repositories this mirror may serve`,
      });
    }
    t.is(world.conversation().length > 0, isAllowed, path);
  }
});

test('what is denied is not served from the store either', async (t) => {
  const world = await startWorld(t, { 'docker.io': { deny: ['org/secret'] } });
  const { digest } = world.image.layer(0);
  t.is((await world.ask(`/v2/org/app/blobs/${digest}`)).status, 200);
  for (const registry of world.registries.values()) registry.clear();
  t.is((await world.ask(`/v2/org/secret/blobs/${digest}`)).status, 403);
  t.is((await world.ask(`/v2/org/secret/blobs/${digest}`, { method: 'HEAD' })).status, 403);
  t.deepEqual(world.conversation(), []);
});
