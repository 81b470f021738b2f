/** JWTs of real issuers: an OIDC provider, and one in the shape of a cluster. */
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { decodeJwt } from 'jose';
import { Provider, type Configuration, type ResourceServer } from 'oidc-provider';
import { clockOf } from '../helpers/clock.ts';
import { get } from '../helpers/client.ts';
import { serve } from '../helpers/serve.ts';
import {
  basic,
  HUB,
  OPEN,
  SECRET,
  startPrivateMirror,
  tokenIn,
  type Issuers,
} from './private-mirror.ts';

const ACCOUNT = 'system:serviceaccount:team-a:builder';
const CLUSTER_CLAIMS = {
  'kubernetes.io': { namespace: 'team-a', serviceaccount: { name: 'builder', uid: 'x' } },
};
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

interface RealIssuer {
  readonly issuer: string;
  readonly jwks: { readonly url: string };
  /** Of a client of the provider. */
  readonly token: (client: string) => Promise<string>;
}

/** `shape`: what stands in its tokens besides, and whether they have the header of a cluster's. */
async function startProvider(
  t: ExecutionContext,
  client: string,
  shape: { claims: Record<string, unknown>; isCluster?: boolean },
): Promise<RealIssuer> {
  const server = createServer();
  const { origin } = await serve(t, server);
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = { ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig', kid: 'one' };
  const resource: ResourceServer = {
    scope: 'pull',
    audience: 'entrepot',
    accessTokenTTL: 600,
    accessTokenFormat: 'jwt',
    jwt: { sign: { alg: 'RS256' } },
  };
  const configuration: Configuration = {
    clients: [
      {
        client_id: client,
        client_secret: 'secret',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
        token_endpoint_auth_method: 'client_secret_post',
      },
    ],
    jwks: { keys: [jwk] },
    ttl: { ClientCredentials: 600 },
    cookies: { keys: ['a key of a test'] },
    extraTokenClaims: () => shape.claims,
    formats: {
      customizers: {
        jwt: (_context, _token, jwt) => {
          if (shape.isCluster && jwt.header) delete jwt.header['typ'];
        },
      },
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:entrepot',
        getResourceServerInfo: () => resource,
        useGrantedResource: () => true,
      },
    },
  };
  const provider = new Provider(origin, configuration);
  server.on('request', provider.callback());
  return {
    issuer: origin,
    jwks: { url: `${origin}/jwks` },
    token: async (id) => {
      const form = { grant_type: 'client_credentials', client_id: id, client_secret: 'secret' };
      const answer = await get(`${origin}/token`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams(form).toString(),
      });
      t.is(answer.status, 200, String(answer.body));
      return tokenIn(answer);
    },
  };
}

test('a token of an OIDC provider logs in: as a password, a bearer, an assertion and a refresh token', async (t) => {
  const { issuer, jwks, token } = await startProvider(t, 'deployer', {
    claims: { groups: ['devs', 'user:ops'] },
  });
  const corp = { name: 'corp', issuer, audience: 'entrepot', jwks, subject: 'sub' };
  const { mirror, ask, post } = await startPrivateMirror(t, ['oidc:corp:deployer'], {
    oidc: [corp],
  });
  const jwt = await token('deployer');
  const scope = `repository:${HUB}/org/secret:pull`;
  for (const way of [basic(jwt), basic(jwt, '_json_key'), `Bearer ${jwt}`]) {
    t.is((await ask(SECRET, way)).status, 200);
    t.is((await ask('/v2/', way)).status, 200);
    t.is((await ask('/token', way)).status, 200);
    const view = { headers: { authorization: way } };
    t.is((await get(`${mirror.server.adminUrl}/api/v1/status`, view)).status, 200);
    t.is((await get(`${mirror.server.adminUrl}/api/v1/tokens`, view)).status, 403);
  }
  const forms = [
    { grant_type: 'password', username: 'any', password: jwt },
    { grant_type: 'refresh_token', refresh_token: jwt },
    { grant_type: JWT_BEARER, assertion: jwt },
  ];
  for (const form of forms) {
    const answer = await post({ ...form, scope });
    t.is(answer.status, 200, String(answer.body));
    t.is((await ask(SECRET, `Bearer ${tokenIn(answer)}`)).status, 200);
    t.is((await post(form)).status, 200);
  }
  t.true(
    mirror.log.some(
      ({ target, subject }) => target === `${HUB}/org/secret` && subject === 'oidc:corp:deployer',
    ),
  );
  t.false(JSON.stringify(mirror.log).includes(jwt.slice(-40)));
});

test('groups of an OIDC provider are groups, whatever they are called', async (t) => {
  const { issuer, jwks, token } = await startProvider(t, 'deployer', {
    claims: { groups: ['devs', 'user:ops', 'k8s:prod:team-a:builder', 7, 'a b', 'oidc:corp:root'] },
  });
  const shared = { name: 'corp', issuer, audience: 'entrepot', jwks, subject: 'sub' };
  const withGroups = { oidc: [{ ...shared, groups: 'groups' }] };
  const jwt = await token('deployer');
  const { pull, become } = await startPrivateMirror(t, ['user:nobody'], withGroups);
  const statusFor = async (who: string, issuers: Issuers = withGroups): Promise<number> => {
    await become([who], issuers);
    return pull(jwt);
  };
  t.is(await statusFor('group:devs'), 200);
  t.is(await statusFor('group:user:ops'), 200);
  for (const other of ['user:ops', 'k8s:prod:team-a:builder', 'oidc:corp:root', 'token:*']) {
    t.is(await statusFor(other), 404, other);
  }
  // Without the key no claim is one of groups.
  t.is(await statusFor('group:devs', { oidc: [shared] }), 404);
});

test('the service account of a cluster is named by its namespace and name', async (t) => {
  const shape = { claims: CLUSTER_CLAIMS, isCluster: true };
  const { issuer, jwks, token } = await startProvider(t, ACCOUNT, shape);
  const kubernetes = [{ name: 'prod', issuer, audience: 'entrepot', jwks }];
  const jwt = await token(ACCOUNT);
  const { pull, become } = await startPrivateMirror(t, ['user:nobody'], { kubernetes });
  const statusFor = async (who: string): Promise<number> => {
    await become([who], { kubernetes });
    return pull(jwt);
  };
  for (const who of ['k8s:prod:team-a:builder', 'k8s:prod:team-a:*', 'k8s:prod:*:builder']) {
    t.is(await statusFor(who), 200, who);
  }
  for (const who of ['k8s:prod:team-b:*', 'k8s:lab:team-a:*', 'oidc:prod:*', 'k8s:prod:team:*']) {
    t.is(await statusFor(who), 404, who);
  }
});

test('clocks may be two minutes apart', async (t) => {
  const { issuer, jwks, token } = await startProvider(t, 'deployer', { claims: {} });
  const corp = { name: 'corp', issuer, audience: 'entrepot', jwks, subject: 'sub' };
  const jwt = await token('deployer');
  const { exp = 0, iat = 0 } = decodeJwt(jwt);
  let seconds = 0;
  const clock = clockOf(() => seconds * 1000);
  const { pull } = await startPrivateMirror(t, ['oidc:corp:*'], { oidc: [corp] }, { clock });
  const statusAt = async (moment: number, shown = jwt): Promise<number> => {
    seconds = moment;
    return pull(shown);
  };
  t.is(await statusAt(iat - 122), 401);
  t.is(await statusAt(exp + 121), 401);
  t.is(await statusAt(iat - 119), 200);
  t.is(await statusAt(exp + 119, await token('deployer')), 200);
});

test('what is open to everybody is pulled with a token of a provider that does not answer', async (t) => {
  const { issuer, jwks, token } = await startProvider(t, 'deployer', { claims: {} });
  const jwt = await token('deployer');
  const away = { ...jwks, url: 'http://127.0.0.1:9/jwks' };
  const corp = { name: 'corp', issuer, audience: 'entrepot', jwks: away, subject: 'sub' };
  const { ask, pull, mirror } = await startPrivateMirror(t, ['oidc:corp:*'], { oidc: [corp] });
  t.is((await ask(OPEN, basic(jwt))).status, 200);
  t.is((await ask(OPEN, basic(jwt, '_json_key'))).status, 200);
  t.false(mirror.log.some(({ issuer: of }) => of === 'oidc:corp'));
  t.is(await pull(jwt), 401);
  await mirror.logged('the keys of an issuer cannot be fetched: those of before count');
});
