import { generateKeyPairSync, verify } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { MINUTE } from '../../helpers/clock.ts';
import { FakeRegistry } from '../../helpers/fake-registry.ts';
import { buildImage, type Image } from '../../helpers/image.ts';
import { createTempFolder } from '../../helpers/mirror.ts';
import { refusalOf } from '../../helpers/scene.ts';
import { createCloudCertificate } from './cloud-certificate.ts';
import { issueFromGoogle } from '../../../src/upstream/credentials/gcp.ts';
import { CloudMirror, denied } from './cloud-mirror.ts';
import { until } from '../../helpers/until.ts';
import { startProxy } from '../../helpers/proxy.ts';
import { FakeCloud } from './fake-cloud.ts';

const MANIFEST = '/v2/app/manifests/v1';
const HEAD = `HEAD ${MANIFEST}`;
const GET = 'GET /v2/app/manifests/<app>';
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform';
const USER = 'oauth2accesstoken';
const TOKEN_PATH = `/computeMetadata/v1/instance/service-accounts/default/token?scopes=${encodeURIComponent(SCOPE)}`;

const serviceAccount = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
});
const KEY = JSON.stringify({
  type: 'service_account',
  project_id: 'site',
  private_key_id: 'key-1',
  private_key: serviceAccount.privateKey,
  client_email: 'puller@site.iam.gserviceaccount.com',
  token_uri: 'https://oauth2.googleapis.com/token',
});
/** Lines of the key that would show wherever a part of it does. */
const KEY_LINES = serviceAccount.privateKey.split('\n').filter((line) => line.length > 40);

interface Registry {
  readonly registry: FakeRegistry;
  readonly image: Image;
  readonly auth: { password: string };
}

/** Takes the password that `auth` holds at the time. */
async function startRegistry(t: ExecutionContext): Promise<Registry> {
  const auth = { kind: 'bearer' as const, username: USER, password: 'ya29.first-token' };
  const registry = await FakeRegistry.start(t, { auth });
  const image = buildImage({ seed: 'gcp', layers: [3000] });
  registry.addImage('app', 'v1', image, { name: 'app' });
  return { registry, image, auth };
}

function metadata(token: () => string): FakeCloud['answer'] {
  return () => ({
    headers: { 'metadata-flavor': 'Google' },
    body: { access_token: token(), expires_in: 3599, token_type: 'Bearer' },
  });
}

interface GoogleWorld extends Registry {
  readonly google: FakeCloud;
  readonly asked: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** Google's token service behind a tunnel, as its library knows only the one address. */
async function startGoogle(t: ExecutionContext): Promise<GoogleWorld> {
  const site = await startRegistry(t);
  const certificate = await createCloudCertificate(t, ['oauth2.googleapis.com']);
  const google = await FakeCloud.start(
    t,
    () => ({ body: { access_token: site.auth.password, expires_in: 3599, token_type: 'Bearer' } }),
    certificate,
  );
  const { url, lines: asked } = await startProxy(t, { lead: () => new URL(google.url).host });
  const env = { HTTPS_PROXY: url, NODE_EXTRA_CA_CERTS: certificate.file };
  return { ...site, google, asked, env };
}

async function verifyAssertion(t: ExecutionContext, google: FakeCloud): Promise<void> {
  t.deepEqual(
    google.requests.map(({ method, path }) => `${method} ${path}`),
    ['POST /token'],
  );
  const form = new URLSearchParams(google.requests[0]?.body);
  t.deepEqual([...form.keys()], ['grant_type', 'assertion']);
  t.is(form.get('grant_type'), 'urn:ietf:params:oauth:grant-type:jwt-bearer');
  const [header = '', payload = '', signature = ''] = (form.get('assertion') ?? '').split('.');
  const signed = Buffer.from(`${header}.${payload}`);
  const bytes = Buffer.from(signature, 'base64url');
  t.true(verify('sha256', signed, serviceAccount.publicKey, bytes));
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<
    string,
    unknown
  >;
  t.is(claims['iss'], 'puller@site.iam.gserviceaccount.com');
  t.is(claims['scope'], SCOPE);
  t.is(claims['aud'], 'https://oauth2.googleapis.com/token');
}

test.serial(`a service account's key buys a token for the registry's service`, async (t) => {
  const { registry, image, google, asked, env, auth } = await startGoogle(t);
  const credentials = { provider: 'gcp', key: KEY } as const;
  const mirror = await CloudMirror.start(t, { url: registry.url, credentials, env });
  t.true((await mirror.get(MANIFEST)).body.equals(image.manifest.bytes));
  t.deepEqual(asked, ['CONNECT oauth2.googleapis.com:443']);
  await verifyAssertion(t, google);
  t.deepEqual(registry.conversation(), ['GET /v2/', 'GET token repository:app:pull', HEAD, GET]);
  t.deepEqual(
    registry.requests.map(({ authorization }) => authorization),
    ['none', `basic:${USER}`, `bearer:${USER}`, `bearer:${USER}`],
  );
  await mirror.keeps(t, [auth.password, ...KEY_LINES]);
});

test.serial('a key whose file is replaced buys the token of the next request', async (t) => {
  const { registry, google, env } = await startGoogle(t);
  const file = join(await createTempFolder(t), 'key.json');
  await writeFile(file, KEY);
  const credentials = { provider: 'gcp', key: KEY, file } as const;
  const mirror = await CloudMirror.start(t, { url: registry.url, credentials, env });
  t.is((await mirror.get(MANIFEST)).status, 200);
  await writeFile(file, '{"type":"service_account",');
  registry.addImage('app', 'v2', buildImage({ seed: 'v2', layers: [] }));
  t.is((await mirror.get('/v2/app/manifests/v2')).status, 200);
  await writeFile(file, KEY.replace('puller@site', 'next@site'));
  registry.addImage('app', 'v3', buildImage({ seed: 'v3', layers: [] }));
  t.is((await mirror.get('/v2/app/manifests/v3')).status, 200);
  const issuers = google.requests.map(({ body }) => {
    const [, payload = ''] = (new URLSearchParams(body).get('assertion') ?? '').split('.');
    return (JSON.parse(Buffer.from(payload, 'base64url').toString()) as { iss: string }).iss;
  });
  t.deepEqual(
    issuers,
    ['puller', 'next'].map((name) => `${name}@site.iam.gserviceaccount.com`),
  );
  await mirror.keeps(t, KEY_LINES);
});

test.serial('a key file that the environment names is a default credential', async (t) => {
  const { registry, google, env } = await startGoogle(t);
  const file = join(await createTempFolder(t), 'key.json');
  await writeFile(file, KEY);
  const mirror = await CloudMirror.start(t, {
    url: registry.url,
    credentials: { provider: 'gcp' },
    env: { ...env, GOOGLE_APPLICATION_CREDENTIALS: file },
  });
  t.is((await mirror.get(MANIFEST)).status, 200);
  await verifyAssertion(t, google);
  await mirror.keeps(t, KEY_LINES);
});

test.serial(`a key that Google does not take is told in Google's words`, async (t) => {
  const { registry, google, env } = await startGoogle(t);
  google.answer = () => ({
    status: 400,
    body: { error: 'invalid_grant', error_description: 'Invalid JWT Signature.' },
  });
  const credentials = { provider: 'gcp', key: KEY } as const;
  const mirror = await CloudMirror.start(t, { url: registry.url, credentials, env });
  t.deepEqual(
    refusalOf(await mirror.get(MANIFEST)),
    denied('no credential from gcp: Google answered 400: invalid_grant: Invalid JWT Signature.'),
  );
  google.answer = () => ({ status: 407, body: `<html>${KEY_LINES[0]}</html>` });
  t.deepEqual(
    refusalOf(await mirror.get(MANIFEST)),
    denied('no credential from gcp: Google answered 407'),
  );
  await mirror.keeps(t, KEY_LINES);
});

for (const [title, key] of [
  ['no JSON', `oops ${serviceAccount.privateKey}`],
  ['a user account', JSON.stringify({ type: 'authorized_user', refresh_token: 'x' })],
] as const) {
  test.serial(`a key that is ${title} is refused without a word of it`, async (t) => {
    const { registry } = await startRegistry(t);
    const mirror = await CloudMirror.start(t, {
      url: registry.url,
      credentials: { provider: 'gcp', key },
      env: {},
    });
    const reason = "the key is not a service account's JSON key";
    t.deepEqual(refusalOf(await mirror.get(MANIFEST)), denied(`no credential from gcp: ${reason}`));
    await mirror.keeps(t, KEY_LINES);
  });
}

test.serial('a key file that is no JSON is not quoted', async (t) => {
  const { registry } = await startRegistry(t);
  const file = join(await createTempFolder(t), 'key.json');
  await writeFile(file, 'ya29.pasted');
  const mirror = await CloudMirror.start(t, {
    url: registry.url,
    credentials: { provider: 'gcp' },
    env: { GOOGLE_APPLICATION_CREDENTIALS: file },
  });
  t.deepEqual(
    refusalOf(await mirror.get(MANIFEST)),
    denied('no credential from gcp: what was read is not JSON'),
  );
  await mirror.keeps(t, ['ya29.pasted']);
});

interface MachineWorld extends Registry {
  readonly cloud: FakeCloud;
  readonly mirror: CloudMirror;
}

/** A machine of Google: the default credentials are its metadata server's. */
async function startMachine(t: ExecutionContext): Promise<MachineWorld> {
  const site = await startRegistry(t);
  const cloud = await FakeCloud.start(
    t,
    metadata(() => site.auth.password),
  );
  const mirror = await CloudMirror.start(t, {
    url: site.registry.url,
    credentials: { provider: 'gcp' },
    env: { GCE_METADATA_HOST: cloud.host },
  });
  return { ...site, cloud, mirror };
}

function tokensAsked({ cloud }: MachineWorld): number {
  return cloud.requests.filter(({ path }) => path === TOKEN_PATH).length;
}

test.serial('on a machine of Google its metadata server is asked for the token', async (t) => {
  const world = await startMachine(t);
  const { cloud, mirror, registry, auth } = world;
  t.is((await mirror.get(MANIFEST)).status, 200);
  t.deepEqual(
    cloud.requests.map(({ method, path }) => `${method} ${path}`),
    ['GET /computeMetadata/v1/instance', `GET ${TOKEN_PATH}`],
  );
  for (const { headers } of cloud.requests) t.is(headers['metadata-flavor'], 'Google');
  t.deepEqual(registry.conversation(), ['GET /v2/', 'GET token repository:app:pull', HEAD, GET]);
  await mirror.keeps(t, [auth.password]);
});

test.serial('near its end the token is renewed behind the pulls, once for all', async (t) => {
  const world = await startMachine(t);
  const { mirror } = world;
  await mirror.get(MANIFEST);
  await mirror.advance(47 * MINUTE);
  await mirror.get(MANIFEST);
  t.is(tokensAsked(world), 1);
  await mirror.advance(3 * MINUTE);
  await Promise.all(Array.from({ length: 20 }, async () => mirror.get(MANIFEST)));
  await until('a renewal', () => tokensAsked(world) === 2);
  await mirror.get(MANIFEST);
  t.is(tokensAsked(world), 2);
});

test.serial('a token that the token service refuses is renewed', async (t) => {
  const world = await startMachine(t);
  const { mirror, registry, image, auth } = world;
  await mirror.get(MANIFEST);
  await mirror.advance(2 * MINUTE);
  auth.password = 'ya29.second-token';
  registry.revokeTokens();
  const layer = image.layer(0);
  t.true((await mirror.get(`/v2/app/blobs/${layer.digest}`)).body.equals(layer.bytes));
  t.is(tokensAsked(world), 2);
  await mirror.keeps(t, ['ya29.']);
});

test.serial('a metadata server that comes late is found', async (t) => {
  const world = await startMachine(t);
  const { cloud, mirror } = world;
  const { answer } = cloud;
  cloud.answer = () => ({ status: 404, body: 'not yet' });
  t.deepEqual(
    refusalOf(await mirror.get(MANIFEST)),
    denied(
      'no credential from gcp: Could not load the default credentials. Browse to https://cloud.google.com/docs/authentication/getting-started for more information.',
    ),
  );
  cloud.answer = answer;
  t.is((await mirror.get(MANIFEST)).status, 200);
});

test.serial('without any credential, and without a metadata server, it says so', async (t) => {
  const { registry } = await startRegistry(t);
  const mirror = await CloudMirror.start(t, {
    url: registry.url,
    credentials: { provider: 'gcp' },
    env: { GCE_METADATA_HOST: '127.0.0.1:1' },
  });
  t.deepEqual(
    refusalOf(await mirror.get(MANIFEST)),
    denied(
      'no credential from gcp: Could not load the default credentials. Browse to https://cloud.google.com/docs/authentication/getting-started for more information.',
    ),
  );
  await mirror.keeps(t, []);
});

test.serial('Google is not asked for what was given up', async (t) => {
  const reason = new Error('the mirror is closing');
  const asking = issueFromGoogle({ key: KEY, signal: AbortSignal.abort(reason) });
  await t.throwsAsync(asking, { message: reason.message });
});
