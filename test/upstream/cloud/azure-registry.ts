import { request as forward } from 'node:http';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import type { ExecutionContext } from 'ava';
import { FakeRegistry } from '../../helpers/fake-registry.ts';
import { serve } from '../../helpers/serve.ts';

export interface AzureRegistry {
  /** The registry behind it, which takes the token of `auth` for a refresh token. */
  readonly registry: FakeRegistry;
  readonly url: string;
  readonly host: string;
  readonly auth: { identityToken: string };
  /** The forms that came to the exchange. */
  readonly exchanges: URLSearchParams[];
  /** What the exchange answers; a test may put another in its place. */
  exchange: () => { status: number; body: string };
}

/** A registry of Azure: the exchange in front of a fake one whose tokens are bought by POST. */
export async function startAzureRegistry(t: ExecutionContext): Promise<AzureRegistry> {
  const auth = {
    kind: 'bearer' as const,
    username: 'nobody',
    password: 'nothing',
    identityToken: '',
    postForm: true,
    tokenField: 'access_token' as const,
  };
  const registry = await FakeRegistry.start(t, { auth });
  const exchanges: URLSearchParams[] = [];
  const server = createServer((incoming, response) => {
    const { method, url, headers } = incoming;
    if (url === '/oauth2/exchange' && method === 'POST') {
      void text(incoming).then((body) => {
        exchanges.push(new URLSearchParams(body));
        const answer = azure.exchange();
        response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body);
      });
      return;
    }
    const inner = forward(`${registry.url}${url}`, { method, headers, agent: false });
    inner.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.pipe(response);
    });
    inner.on('error', () => response.destroy());
    incoming.pipe(inner);
  });
  const { origin, host } = await serve(t, server);
  const azure: AzureRegistry = {
    registry,
    url: origin,
    host,
    auth,
    exchanges,
    exchange: () => ({ status: 200, body: JSON.stringify({ refresh_token: auth.identityToken }) }),
  };
  return azure;
}

/** A refresh token as the registry makes them: a JWT that states its end in seconds. */
export function refreshToken(name: string, expiresAtMs: number): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = { jti: name, exp: Math.floor(expiresAtMs / 1000) };
  return `${part({ alg: 'RS256' })}.${part(claims)}.${Buffer.from(name).toString('base64url')}`;
}
