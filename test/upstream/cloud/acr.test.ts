import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { CredentialsConfig } from '../../../src/config/config.ts';
import { MINUTE } from '../../helpers/clock.ts';
import { buildImage, type Image } from '../../helpers/image.ts';
import { createTempFolder } from '../../helpers/mirror.ts';
import { refusalOf } from '../../helpers/scene.ts';
import { refreshToken, startAzureRegistry, type AzureRegistry } from './azure-registry.ts';
import { createCloudCertificate } from './cloud-certificate.ts';
import { CloudMirror, UPSTREAM, denied } from './cloud-mirror.ts';
import { until } from '../../helpers/until.ts';
import { FakeCloud } from './fake-cloud.ts';

const MANIFEST = '/v2/app/manifests/v1';
const HEAD = `HEAD ${MANIFEST}`;
const GET = 'GET /v2/app/manifests/<app>';
const TOKEN = 'POST token repository:app:pull';
const TENANT = '11111111-1111-1111-1111-111111111111';
const CLIENT = '22222222-2222-2222-2222-222222222222';
const SECRET = 'the~client~secret';
const AAD_TOKEN = 'aad.access.token';
const SCOPE = 'https://containerregistry.azure.net/.default';
const PRINCIPAL: CredentialsConfig = {
  provider: 'acr',
  tenant: TENANT,
  client: CLIENT,
  secret: SECRET,
};

interface World extends AzureRegistry {
  readonly image: Image;
  readonly entra: FakeCloud;
  readonly mirror: CloudMirror;
  readonly secrets: string[];
}

async function startRegistry(
  t: ExecutionContext,
): Promise<{ azure: AzureRegistry; image: Image; secrets: string[] }> {
  const azure = await startAzureRegistry(t);
  azure.auth.identityToken = refreshToken('first', Date.now() + 35 * MINUTE);
  const image = buildImage({ seed: 'acr', layers: [3000] });
  azure.registry.addImage('app', 'v1', image, { name: 'app' });
  return { azure, image, secrets: [SECRET, AAD_TOKEN, azure.auth.identityToken] };
}

/** A service principal with its authority, Microsoft Entra, on loopback. */
async function startPrincipal(t: ExecutionContext, credentials = PRINCIPAL): Promise<World> {
  const { azure, image, secrets } = await startRegistry(t);
  const certificate = await createCloudCertificate(t);
  const entra = await FakeCloud.start(
    t,
    ({ path }) =>
      path.includes('/.well-known/openid-configuration')
        ? { body: openidConfiguration(entra.url) }
        : { body: { token_type: 'Bearer', expires_in: 3599, access_token: AAD_TOKEN } },
    certificate,
  );
  const mirror = await CloudMirror.start(t, {
    url: azure.url,
    credentials,
    env: { AZURE_AUTHORITY_HOST: entra.url, NODE_EXTRA_CA_CERTS: certificate.file },
  });
  return Object.assign(azure, { image, entra, mirror, secrets });
}

function openidConfiguration(url: string): Record<string, string> {
  return {
    issuer: `${url}/${TENANT}/v2.0`,
    token_endpoint: `${url}/${TENANT}/oauth2/v2.0/token`,
    authorization_endpoint: `${url}/${TENANT}/oauth2/v2.0/authorize`,
    jwks_uri: `${url}/${TENANT}/discovery/v2.0/keys`,
  };
}

function tokenForms({ entra }: World): URLSearchParams[] {
  return entra.requests
    .filter(({ method }) => method === 'POST')
    .map(({ body }) => new URLSearchParams(body));
}

test.serial(`a service principal's token is exchanged by the registry itself`, async (t) => {
  const world = await startPrincipal(t);
  const { mirror, entra, registry, exchanges, host, auth, image } = world;
  t.true((await mirror.get(MANIFEST)).body.equals(image.manifest.bytes));
  t.deepEqual(
    entra.requests.map(({ method, path }) => `${method} ${path.split('?')[0]}`),
    [`GET /${TENANT}/v2.0/.well-known/openid-configuration`, `POST /${TENANT}/oauth2/v2.0/token`],
  );
  const [form = new URLSearchParams()] = tokenForms(world);
  t.is(form.get('grant_type'), 'client_credentials');
  t.is(form.get('client_id'), CLIENT);
  t.is(form.get('client_secret'), SECRET);
  t.true((form.get('scope') ?? '').split(' ').includes(SCOPE));
  t.deepEqual(
    exchanges.map((each) => Object.fromEntries(each)),
    [{ grant_type: 'access_token', service: host, tenant: TENANT, access_token: AAD_TOKEN }],
  );
  t.deepEqual(registry.conversation(), ['GET /v2/', TOKEN, HEAD, GET]);
  const [asked = new URLSearchParams()] = registry.requests
    .filter(({ origin }) => origin === 'token')
    .map((request) => request.form);
  t.deepEqual(Object.fromEntries(asked), {
    client_id: 'entrepot',
    scope: 'repository:app:pull',
    service: 'fake-registry',
    grant_type: 'refresh_token',
    refresh_token: auth.identityToken,
  });
  await world.mirror.keeps(t, world.secrets);
});

test.serial(
  'a client secret whose file is replaced is the new one with the next request',
  async (t) => {
    const file = join(await createTempFolder(t), 'secret');
    await writeFile(file, SECRET);
    const world = await startPrincipal(t, { ...PRINCIPAL, file });
    const { mirror, registry } = world;
    t.is((await mirror.get(MANIFEST)).status, 200);
    await writeFile(file, 'the~next~secret');
    registry.addImage('app', 'v2', buildImage({ seed: 'v2', layers: [] }));
    t.is((await mirror.get('/v2/app/manifests/v2')).status, 200);
    t.deepEqual(
      tokenForms(world).map((form) => form.get('client_secret')),
      [SECRET, 'the~next~secret'],
    );
    await mirror.keeps(t, [...world.secrets, 'the~next~secret']);
  },
);

test.serial('near its end the refresh token is exchanged anew, once for all', async (t) => {
  const world = await startPrincipal(t);
  const { mirror, exchanges, auth, registry, secrets } = world;
  await mirror.get(MANIFEST);
  await mirror.advance(25 * MINUTE);
  await mirror.get(MANIFEST);
  t.is(exchanges.length, 1, 'not before 80 % of its life');
  await mirror.advance(5 * MINUTE);
  const next = refreshToken('second', Date.now() + 65 * MINUTE);
  secrets.push(next);
  world.exchange = () => ({ status: 200, body: JSON.stringify({ refresh_token: next }) });
  await Promise.all(Array.from({ length: 20 }, async () => mirror.get(MANIFEST)));
  await until('a renewal', () => exchanges.length === 2);
  auth.identityToken = next;
  registry.clear();
  await until('the new refresh token', async () => {
    await mirror.get(MANIFEST);
    return registry.requests.some(({ form }) => form.get('refresh_token') === auth.identityToken);
  });
  t.is(exchanges.length, 2);
  await world.mirror.keeps(t, world.secrets);
});

test.serial('a refresh token that states no end is good for ten minutes', async (t) => {
  const world = await startPrincipal(t);
  const { mirror, exchanges, auth } = world;
  auth.identityToken = 'opaque';
  await mirror.get(MANIFEST);
  await mirror.advance(7 * MINUTE);
  await mirror.get(MANIFEST);
  t.is(exchanges.length, 1);
  await mirror.advance(4 * MINUTE);
  await mirror.get(MANIFEST);
  t.is(exchanges.length, 2);
});

test.serial('an exchange that refuses is told with host and status', async (t) => {
  const world = await startPrincipal(t);
  const { mirror, host } = world;
  world.exchange = () => ({ status: 401, body: `{"errors":[{"message":"${AAD_TOKEN}"}]}` });
  t.deepEqual(refusalOf(await mirror.get(MANIFEST)), {
    ...denied(`the token exchange ${host} answered 401 to the Azure identity`),
    detail: { upstream: UPSTREAM, fault: 'unauthorized', upstreamStatus: 401 },
  });
  world.exchange = () => ({ status: 500, body: AAD_TOKEN });
  const failing = refusalOf(await mirror.get(MANIFEST));
  t.is(failing['status'], 502);
  t.is(
    failing['message'],
    `${UPSTREAM}: the token exchange ${host} answered 500 to the Azure identity`,
  );
  world.exchange = () => ({ status: 200, body: `{"access_token":"${AAD_TOKEN}"}` });
  const strange = refusalOf(await mirror.get(MANIFEST));
  t.is(strange['status'], 502);
  t.is(strange['message'], `${UPSTREAM}: the token exchange ${host} sent no refresh token`);
  await world.mirror.keeps(t, world.secrets);
});

test.serial('a client secret that Entra does not take is told in its words', async (t) => {
  const world = await startPrincipal(t);
  const { answer } = world.entra;
  world.entra.answer = (request) =>
    request.method === 'GET'
      ? answer(request)
      : {
          status: 401,
          body: {
            error: 'invalid_client',
            error_description: 'AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1',
            error_codes: [7000215],
          },
        };
  const refusal = refusalOf(await world.mirror.get(MANIFEST));
  t.is(refusal['status'], 403);
  t.regex(
    String(refusal['message']),
    /^cloud\.example: no credential from acr [^:]+: invalid_client: .*AADSTS7000215: Invalid client secret provided\.$/,
  );
  world.entra.answer = () => ({ status: 502, body: `<html>${SECRET}</html>` });
  const page = refusalOf(await world.mirror.get(MANIFEST));
  t.is(page['status'], 403);
  t.regex(String(page['message']), /^cloud\.example: no credential from acr [^:]+: /);
  await world.mirror.keeps(t, world.secrets);
});

/** An identity of the machine, by the two ways in which Azure offers one. */
const MACHINES: Record<string, (cloud: FakeCloud) => Record<string, string>> = {
  'App Service': ({ url }) => ({
    IDENTITY_ENDPOINT: `${url}/msi/token`,
    IDENTITY_HEADER: 'header-secret',
  }),
  'instance metadata': ({ url }) => ({ AZURE_POD_IDENTITY_AUTHORITY_HOST: url }),
};

for (const [title, env] of Object.entries(MACHINES)) {
  test.serial(`a managed identity of ${title} is asked for by its client`, async (t) => {
    const { azure, image, secrets } = await startRegistry(t);
    const cloud = await FakeCloud.start(t, () => ({
      body: {
        token_type: 'Bearer',
        access_token: AAD_TOKEN,
        expires_in: 3600,
        expires_on: String(Math.floor(Date.now() / 1000) + 3600),
        resource: 'https://containerregistry.azure.net',
      },
    }));
    const mirror = await CloudMirror.start(t, {
      url: azure.url,
      credentials: { provider: 'acr', client: CLIENT },
      env: env(cloud),
    });
    t.true((await mirror.get(MANIFEST)).body.equals(image.manifest.bytes));
    t.is(cloud.requests.length, 1);
    const url = new URL(cloud.requests[0]?.path ?? '', cloud.url);
    t.is(url.searchParams.get('resource'), 'https://containerregistry.azure.net');
    t.is(url.searchParams.get('client_id'), CLIENT);
    t.deepEqual(
      azure.exchanges.map((each) => Object.fromEntries(each)),
      [{ grant_type: 'access_token', service: azure.host, access_token: AAD_TOKEN }],
    );
    await mirror.keeps(t, [...secrets, 'header-secret']);
  });
}

test.serial('without any identity it says so in one line', async (t) => {
  const { azure } = await startRegistry(t);
  const mirror = await CloudMirror.start(t, {
    url: azure.url,
    credentials: { provider: 'acr' },
    env: { AZURE_POD_IDENTITY_AUTHORITY_HOST: 'http://127.0.0.1:1', PATH: '' },
  });
  const refusal = refusalOf(await mirror.get(MANIFEST));
  t.is(refusal['status'], 403);
  t.is(
    refusal['message'],
    `${UPSTREAM}: no credential from acr: no identity found: EnvironmentCredential is unavailable. No underlying credential could be used; ManagedIdentityCredential: Network unreachable. Message: network_error:`,
  );
  await mirror.keeps(t, []);
  t.deepEqual(azure.exchanges, []);
});
