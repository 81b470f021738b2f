import { readFileSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { CredentialsConfig } from '../../../src/config/config.ts';
import { HOUR, MINUTE } from '../../helpers/clock.ts';
import { FakeRegistry } from '../../helpers/fake-registry.ts';
import { buildImage, type Image } from '../../helpers/image.ts';
import { createTempFolder } from '../../helpers/mirror.ts';
import { refusalOf } from '../../helpers/scene.ts';
import { CloudMirror, denied, UPSTREAM } from './cloud-mirror.ts';
import { until } from '../../helpers/until.ts';
import { FakeCloud, type CloudAnswer } from './fake-cloud.ts';

const ACCESS_KEY = 'AKIDEXAMPLEEXAMPLE';
const SECRET_KEY = 'the-secret-access-key';
const ECR: CredentialsConfig = { provider: 'ecr', region: 'eu-central-1' };
const MANIFEST = '/v2/app/manifests/v1';
const HEAD = `HEAD ${MANIFEST}`;
const GET = 'GET /v2/app/manifests/<app>';

interface World {
  readonly cloud: FakeCloud;
  readonly registry: FakeRegistry;
  readonly mirror: CloudMirror;
  readonly image: Image;
  /** From now on this is the one password that the cloud issues and the registry takes. */
  readonly rotate: (password: string) => void;
  readonly secrets: Set<string>;
}

interface Options {
  readonly credentials?: CredentialsConfig;
  readonly env?: Readonly<Record<string, string>>;
  readonly answer?: FakeCloud['answer'];
  readonly lifeMs?: number;
}

function issued(password: string, lifeMs: number): CloudAnswer {
  const authorizationToken = Buffer.from(`AWS:${password}`).toString('base64');
  const expiresAt = (Date.now() + lifeMs) / 1000;
  return { body: { authorizationData: [{ authorizationToken, expiresAt }] } };
}

async function startWorld(t: ExecutionContext, options: Options = {}): Promise<World> {
  const { credentials = ECR, env, lifeMs = 12 * HOUR } = options;
  const auth = { kind: 'basic' as const, username: 'AWS', password: '' };
  const secrets = new Set([SECRET_KEY]);
  const cloud = await FakeCloud.start(t, options.answer ?? (() => issued(auth.password, lifeMs)));
  const rotate = (password: string): void => {
    auth.password = password;
    secrets.add(password).add(Buffer.from(`AWS:${password}`).toString('base64'));
  };
  rotate('first:pass:word');
  const registry = await FakeRegistry.start(t, { auth });
  const image = buildImage({ seed: 'ecr', layers: [3000] });
  registry.addImage('app', 'v1', image, { name: 'app' });
  const own = { AWS_ACCESS_KEY_ID: ACCESS_KEY, AWS_SECRET_ACCESS_KEY: SECRET_KEY };
  const mirror = await CloudMirror.start(t, {
    url: registry.url,
    credentials,
    env: {
      AWS_ENDPOINT_URL_ECR: cloud.url,
      AWS_ENDPOINT_URL_ECR_PUBLIC: cloud.url,
      ...(env ?? own),
    },
  });
  return { cloud, registry, mirror, image, rotate, secrets };
}

/** The passwords that came to the registry, in order. */
function shown({ registry }: World): string[] {
  return registry.requests.map(({ headers: { authorization = 'none' } }) =>
    authorization === 'none'
      ? authorization
      : Buffer.from(authorization.slice(6), 'base64').toString(),
  );
}

test.serial('a metric tells when the credential ends that was issued', async (t) => {
  const expiresAt = Math.round(Date.now() / 1000) + 3600;
  const authorizationToken = Buffer.from('AWS:first:pass:word').toString('base64');
  const authorizationData = [{ authorizationToken, expiresAt }];
  const { mirror } = await startWorld(t, { answer: () => ({ body: { authorizationData } }) });
  const told = async (): Promise<number | undefined> =>
    (await mirror.scrape()).find('upstream_credential_expiry_timestamp_seconds', {
      upstream: UPSTREAM,
    });
  t.is(await told(), undefined);
  t.is((await mirror.get(MANIFEST)).status, 200);
  t.is(await told(), expiresAt);
});

test.serial(
  'a pull with the default chain asks ECR once and shows the whole password',
  async (t) => {
    const world = await startWorld(t);
    const { cloud, registry, mirror, image } = world;
    const answer = await mirror.get(MANIFEST);
    t.true(answer.body.equals(image.manifest.bytes));
    const layer = image.layer(0);
    t.true((await mirror.get(`/v2/app/blobs/${layer.digest}`)).body.equals(layer.bytes));

    t.is(cloud.requests.length, 1);
    const { method, path, headers, body } = cloud.requests[0]!;
    t.deepEqual([method, path, body], ['POST', '/', '{}']);
    t.is(headers['content-type'], 'application/x-amz-json-1.1');
    t.is(headers['x-amz-target'], 'AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken');
    t.regex(
      headers.authorization ?? '',
      /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLEEXAMPLE\/\d{8}\/eu-central-1\/ecr\/aws4_request, SignedHeaders=[a-z0-9;-]+, Signature=[0-9a-f]{64}$/,
    );

    t.deepEqual(registry.conversation(), ['GET /v2/', HEAD, GET, 'GET /v2/app/blobs/<app.layer0>']);
    const login = 'AWS:first:pass:word';
    t.deepEqual(shown(world), ['none', login, login, login]);
    await world.mirror.keeps(t, world.secrets);
  },
);

test.serial('a profile of the configuration files is used when one is named', async (t) => {
  const world = await startWorld(t, {
    credentials: { provider: 'ecr', region: 'eu-central-1', profile: 'site' },
    // The variables are of another account, and the library would warn of that on the console.
    env: {
      AWS_ACCESS_KEY_ID: 'AKIDOTHER',
      AWS_SECRET_ACCESS_KEY: 'other',
      AWS_SHARED_CREDENTIALS_FILE: await writeProfile(t),
    },
  });
  t.is((await world.mirror.get(MANIFEST)).status, 200);
  t.regex(world.cloud.requests[0]?.headers.authorization ?? '', /Credential=AKIDPROFILE\//);
  await world.mirror.keeps(t, world.secrets);
});

async function writeProfile(t: ExecutionContext): Promise<string> {
  const file = join(await createTempFolder(t), 'credentials');
  await writeFile(
    file,
    `[site]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = ${SECRET_KEY}\n`,
  );
  return file;
}

test.serial('ECR Public is asked in its own way, and its password buys a token', async (t) => {
  const password = 'public:pass:word';
  const cloud = await FakeCloud.start(t, () => {
    const authorizationToken = Buffer.from(`AWS:${password}`).toString('base64');
    const expiresAt = Date.now() / 1000 + 3600;
    return { body: { authorizationData: { authorizationToken, expiresAt } } };
  });
  const registry = await FakeRegistry.start(t, {
    auth: { kind: 'bearer', username: 'AWS', password, tokenField: 'token' },
  });
  registry.addImage('app', 'v1', buildImage({ seed: 'ecr', layers: [1] }), { name: 'app' });
  const mirror = await CloudMirror.start(t, {
    url: registry.url,
    credentials: { provider: 'ecr-public' },
    env: {
      AWS_ENDPOINT_URL_ECR_PUBLIC: cloud.url,
      AWS_ACCESS_KEY_ID: ACCESS_KEY,
      AWS_SECRET_ACCESS_KEY: SECRET_KEY,
    },
  });
  t.is((await mirror.get(MANIFEST)).status, 200);
  t.is(cloud.requests.length, 1);
  const { path, headers, body } = cloud.requests[0]!;
  t.deepEqual([path, body], ['/', '{}']);
  t.is(headers['x-amz-target'], 'SpencerFrontendService.GetAuthorizationToken');
  t.regex(headers.authorization ?? '', /\/us-east-1\/ecr-public\/aws4_request, /);
  t.deepEqual(registry.conversation(), ['GET /v2/', 'GET token repository:app:pull', HEAD, GET]);
  t.deepEqual(
    registry.requests.map(({ authorization }) => authorization),
    ['none', 'basic:AWS', 'bearer:AWS', 'bearer:AWS'],
  );
  await mirror.keeps(t, [password, SECRET_KEY]);
});

test.serial('many pulls at once wait for one authorization', async (t) => {
  const { cloud, mirror, registry, image } = await startWorld(t);
  const tags = Array.from({ length: 20 }, (_, turn) => `t${turn}`);
  for (const tag of tags) registry.tag('app', tag, image.manifest);
  const gate = cloud.hold();
  const pulls = tags.map(async (tag) => mirror.get(`/v2/app/manifests/${tag}`));
  await gate.arrived();
  // Behind all of them; none can have been answered yet.
  await mirror.get('/v2/');
  t.deepEqual(registry.conversation(), []);
  gate.open();
  t.deepEqual([...new Set((await Promise.all(pulls)).map(({ status }) => status))], [200]);
  t.is(cloud.requests.length, 1);
});

test.serial('near its end it is renewed behind the pulls, once for all of them', async (t) => {
  const world = await startWorld(t);
  const { cloud, mirror, registry } = world;
  await mirror.get(MANIFEST);
  await mirror.advance(9 * HOUR);
  await mirror.get(MANIFEST);
  t.is(cloud.requests.length, 1, 'not before 80 % of its life');

  await mirror.advance(HOUR);
  const gate = cloud.hold();
  registry.clear();
  const answers = await Promise.all(Array.from({ length: 20 }, async () => mirror.get(MANIFEST)));
  t.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
  await gate.arrived();
  t.is(cloud.requests.length, 2);
  t.deepEqual([...new Set(shown(world))], ['AWS:first:pass:word']);

  world.rotate('next:pass:word');
  gate.open();
  registry.clear();
  await until('the new password', async () => {
    await mirror.get(MANIFEST);
    return shown(world).at(-1) === 'AWS:next:pass:word';
  });
  t.is(cloud.requests.length, 2);
  await world.mirror.keeps(t, world.secrets);
});

test.serial('a renewal that fails keeps the old one to its end, and only then shows', async (t) => {
  const world = await startWorld(t);
  const { cloud, mirror, registry, image } = world;
  await mirror.get(MANIFEST);
  cloud.answer = () => ({ status: 400, body: { __type: 'ThrottlingTest', message: 'not now' } });
  await mirror.advance(10 * HOUR);
  t.is((await mirror.get(MANIFEST)).headers['cache-status'], 'entrepot; hit; detail=revalidated');
  await until('a failed renewal', () => cloud.requests.length > 1);
  registry.clear();
  t.is((await mirror.get(`/v2/app/blobs/${image.config.digest}`)).status, 200);
  t.deepEqual(shown(world), ['AWS:first:pass:word']);

  await mirror.advance(2 * HOUR);
  t.deepEqual(
    refusalOf(await mirror.get(`/v2/app/blobs/${image.layer(0).digest}`)),
    denied(`no credential from ecr: ThrottlingTest: not now`),
  );
  await world.mirror.keeps(t, world.secrets);
});

for (const status of [401, 403]) {
  test.serial(`a password refused with ${status} in the middle of a pull is renewed`, async (t) => {
    const world = await startWorld(t);
    const { cloud, mirror, registry, image, rotate } = world;
    await mirror.get(MANIFEST);
    await mirror.advance(2 * MINUTE);
    registry.clear();
    rotate('next:pass:word');
    const layer = image.layer(0);
    // The fake itself says 401 to an old password.
    if (status === 403) registry.status(`/v2/app/blobs/${layer.digest}`, 403);
    const answer = await mirror.get(`/v2/app/blobs/${layer.digest}`);
    t.true(answer.body.equals(layer.bytes));
    t.is(cloud.requests.length, 2);
    t.deepEqual(registry.conversation(), [
      'GET /v2/app/blobs/<app.layer0>',
      'GET /v2/app/blobs/<app.layer0>',
    ]);
    t.deepEqual(shown(world), ['AWS:first:pass:word', 'AWS:next:pass:word']);
    await world.mirror.keeps(t, world.secrets);
  });
}

test.serial(
  'a password that ends while a blob is on its way is renewed for the rest',
  async (t) => {
    const world = await startWorld(t);
    const { cloud, mirror, registry, image, rotate } = world;
    await mirror.get(MANIFEST);
    const layer = image.layer(0);
    const gate = registry.hold(layer, { after: 1000 });
    const pull = mirror.get(`/v2/app/blobs/${layer.digest}`);
    await gate.arrived();
    await mirror.advance(2 * MINUTE);
    rotate('next:pass:word');
    registry.clear();
    registry.drop();
    await registry.accept();
    gate.open();
    t.true((await pull).body.equals(layer.bytes));
    t.is(cloud.requests.length, 2);
    t.deepEqual(registry.conversation(), [
      'GET /v2/app/blobs/<app.layer0> bytes=1000-2999',
      'GET /v2/app/blobs/<app.layer0> bytes=1000-2999',
    ]);
    t.deepEqual(shown(world), ['AWS:first:pass:word', 'AWS:next:pass:word']);
  },
);

const WITHOUT_KEYS = { AWS_EC2_METADATA_SERVICE_ENDPOINT: 'http://127.0.0.1:1' };

const failures: [string, Options, string][] = [
  [
    'no credentials anywhere',
    { env: WITHOUT_KEYS },
    'Could not load credentials from any providers',
  ],
  [
    'a key that Amazon does not know',
    {
      answer: () => ({
        status: 400,
        body: {
          __type: 'UnrecognizedClientException',
          message: 'The security token included in the request is invalid.',
        },
      }),
    },
    'UnrecognizedClientException: The security token included in the request is invalid.',
  ],
  [
    'a role without the permission',
    {
      answer: () => ({
        status: 400,
        body: { __type: 'AccessDeniedException', Message: 'User is not authorized\nto do that' },
      }),
    },
    'AccessDeniedException: User is not authorized',
  ],
  [
    'an endpoint that fails',
    { answer: () => ({ status: 500, body: { __type: 'ServerException', message: 'sorry' } }) },
    'ServerException: sorry',
  ],
  [
    "a proxy's page with a password in it",
    { answer: () => ({ status: 502, body: `<html>first:pass:word ${SECRET_KEY}</html>` }) },
    'an answer with status 502 that cannot be read',
  ],
  [
    'a broken answer',
    { answer: () => ({ body: `{"authorizationData":[{"authorizationToken":"first:pass` }) },
    'an answer with status 200 that cannot be read',
  ],
  [
    'an answer without a token',
    { answer: () => ({ body: { authorizationData: [] } }) },
    'an answer without an authorization token',
  ],
];

for (const [title, options, reason] of failures) {
  test.serial(`${title} is told in one line`, async (t) => {
    const world = await startWorld(t, options);
    t.deepEqual(
      refusalOf(await world.mirror.get(MANIFEST)),
      denied(`no credential from ecr: ${reason}`),
    );
    await world.mirror.keeps(t, world.secrets);
  });
}

test.serial('an endpoint that is down is told in one line', async (t) => {
  const world = await startWorld(t);
  await world.cloud.refuse();
  t.deepEqual(
    refusalOf(await world.mirror.get(MANIFEST)),
    denied(`no credential from ecr: connect ECONNREFUSED ${world.cloud.host}`),
  );
  await world.mirror.keeps(t, world.secrets);
});

for (const [claim, lifeMs] of [
  ['is past already', -72 * HOUR],
  ['is decades off', 50 * 365 * 24 * HOUR],
] as const) {
  test.serial(
    `a password whose end ${claim} by a wrong clock is asked for once, and again when it is refused`,
    async (t) => {
      const world = await startWorld(t, { lifeMs });
      const { cloud, mirror, rotate } = world;
      t.is((await mirror.get(MANIFEST)).status, 200);
      t.is((await mirror.get('/v2/app/manifests/missing')).status, 404);
      t.is((await mirror.get('/v2/app/manifests/missing2')).status, 404);
      t.is(cloud.requests.length, 1);
      rotate('second:pass:word');
      // One that was issued a moment ago is not the reason of a refusal.
      await mirror.advance(2 * 60_000);
      t.is((await mirror.get('/v2/app/manifests/missing3')).status, 404);
      t.is(cloud.requests.length, 2);
      await world.mirror.keeps(t, world.secrets);
    },
  );
}

// Programs

for (const how of ['a script', 'a script that has started another program'] as const) {
  test.serial(`closing ends ${how} that a profile names as its credential process`, async (t) => {
    const folder = await createTempFolder(t);
    const [config, program, started] = ['config', 'issue', 'started'].map((name) =>
      join(folder, name),
    );
    const hang =
      how === 'a script' ? 'exec sleep 600' : `sleep 600 &\necho $! >> '${started}'\nwait`;
    await writeFile(program!, `#!/bin/sh\necho $$ >> '${started}'\n${hang}\n`, { mode: 0o755 });
    await writeFile(config!, `[default]\ncredential_process = ${program}\n`);
    const { mirror, registry } = await startWorld(t, {
      env: { AWS_CONFIG_FILE: config!, PATH: process.env['PATH'] ?? '' },
    });
    const answering = mirror.get(MANIFEST).catch((error: unknown) => error);
    const count = how === 'a script' ? 1 : 2;
    const pids = await until('the program runs', async () => {
      const found = (await readFile(started!, 'utf8').catch(() => '')).split('\n').filter(Boolean);
      return found.length === count ? found : undefined;
    });
    t.deepEqual(pids.filter(isRunning), pids);
    await mirror.close();
    await answering;
    // The library tries the program once more in another way; what that starts ends as well.
    let looks = 0;
    await until('nothing runs any more', async () => {
      const isOver = !pids.some(isRunning) && !(await isNamed(program!));
      looks = isOver ? looks + 1 : 0;
      return looks === 50;
    });
    t.deepEqual(registry.conversation(), []);
  });
}

/** Whether a process was started by this name. */
async function isNamed(program: string): Promise<boolean> {
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (line.includes(program)) return true;
  }
  return false;
}

function isRunning(pid: string): boolean {
  try {
    // A dead process that nobody has waited for is a zombie.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
