import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { ExecutionContext } from 'ava';
import { SignJWT, type JWTHeaderParameters } from 'jose';
import type { KeyPair } from '../helpers/certificate.ts';
import { serve } from '../helpers/serve.ts';

/** One key of an issuer; named after itself, as Kubernetes does it, unless a name is given. */
export class SigningKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: KeyObject;
  readonly jwk: object;

  constructor({ kid, alg = 'ES256' }: { kid?: string; alg?: 'ES256' | 'RS256' | 'EdDSA' } = {}) {
    const { publicKey, privateKey } = MAKERS[alg]();
    const jwk = publicKey.export({ format: 'jwk' });
    this.alg = alg;
    this.privateKey = privateKey;
    this.kid = kid ?? createHash('sha256').update(JSON.stringify(jwk)).digest('base64url');
    this.jwk = { ...jwk, kid: this.kid, alg, use: 'sig' };
  }

  async sign(
    claims: Readonly<Record<string, unknown>>,
    header: Partial<JWTHeaderParameters> = {},
  ): Promise<string> {
    const made = { alg: this.alg, kid: this.kid, ...header };
    return new SignJWT(claims).setProtectedHeader(made).sign(this.privateKey);
  }
}

const MAKERS = {
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  EdDSA: () => generateKeyPairSync('ed25519'),
};

export function jwksOf(...keys: readonly SigningKey[]): string {
  return JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** An address that gives keys, and counts who asks. */
export interface KeyServer {
  readonly url: string;
  readonly requests: readonly IncomingMessage[];
  /** How it answers from now on. */
  answer: Answer;
}

export async function startKeyServer(
  t: ExecutionContext,
  answer: Answer,
  tls?: KeyPair,
): Promise<KeyServer> {
  const requests: IncomingMessage[] = [];
  const listener: Answer = (request, response) => {
    requests.push(request);
    server.answer(request, response);
  };
  const at = await serve(t, tls ? createTlsServer(tls, listener) : createServer(listener));
  const server = { url: `${at.origin}/openid/v1/jwks`, requests, answer };
  return server;
}

/** As a provider that works answers. */
export function givesKeys(...keys: readonly SigningKey[]): Answer {
  return (_request, response) => {
    response.setHeader('content-type', 'application/jwk-set+json');
    response.end(jwksOf(...keys));
  };
}

/** What a token of a service account says, as the API server of a cluster makes it. */
export function serviceAccount(
  issuer: string,
  { at, namespace, account }: { at: number; namespace: string; account: string },
): Record<string, unknown> {
  const now = Math.floor(at / 1000);
  return {
    aud: ['entrepot'],
    exp: now + 3600,
    iat: now,
    iss: issuer,
    jti: '3a1f1f0e-2a51-4e2a-b7b4-5a8a4d1ee5a1',
    'kubernetes.io': {
      namespace,
      node: { name: 'node-1', uid: 'f1c7bd5a-b6a3-4ae5-9b9a-9f0a2f1d8e6c' },
      pod: { name: `${account}-7d9f`, uid: '0a7e7b0f-3f55-4b8a-8a4e-2f5f8f2f9d11' },
      serviceaccount: { name: account, uid: '8d0c8c0e-6b5b-4a8e-9c55-0b9f1f1a4a10' },
      warnafter: now + 3607,
    },
    nbf: now,
    sub: `system:serviceaccount:${namespace}:${account}`,
  };
}
