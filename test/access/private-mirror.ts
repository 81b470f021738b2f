import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import type { ExecutionContext } from 'ava';
import type { Config } from '../../src/config/config.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { get, type ClientAnswer } from '../helpers/client.ts';
import { buildImage } from '../helpers/image.ts';
import {
  createTempFolder,
  startMirror,
  type MirrorOptions,
  type TestMirror,
} from '../helpers/mirror.ts';

type AccessConfig = NonNullable<Config['access']>;
export type Issuers = Pick<AccessConfig, 'oidc' | 'kubernetes'>;
export const HUB = 'hub.example';
export const SECRET = '/v2/org/secret/manifests/v1';
export const OPEN = '/v2/library/open/manifests/v1';

/** A mirror of a registry with one open and one private repository. */
export interface PrivateMirror {
  readonly mirror: TestMirror;
  readonly options: MirrorOptions;
  /** A reload. */
  readonly become: (who: readonly string[], issuers: Issuers) => Promise<void>;
  readonly ask: (path: string, authorization?: string) => Promise<ClientAnswer>;
  /** The status of the private manifest for a JWT as a password. */
  readonly pull: (jwt: string) => Promise<number>;
  /** A form to `/token`. */
  readonly post: (form: Readonly<Record<string, string>>) => Promise<ClientAnswer>;
  /** How often the log refused a JWT, and why. */
  readonly refusals: () => readonly unknown[];
}

/** Whoever is named in `who` may pull and list what is private. */
export async function startPrivateMirror(
  t: ExecutionContext,
  who: readonly string[],
  issuers: Issuers,
  others: Partial<MirrorOptions> = {},
): Promise<PrivateMirror> {
  const registry = await FakeRegistry.start(t);
  registry.addImage('library/open', 'v1', buildImage({ seed: 'open', layers: [100] }));
  registry.addImage('org/secret', 'v1', buildImage({ seed: 'secret', layers: [100] }));
  const options: MirrorOptions = {
    upstreams: { [HUB]: { url: registry.url } },
    access: accessOf(who, issuers),
    ...others,
  };
  const mirror = await startMirror(t, options);
  const agent = new Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  const ask = async (path: string, authorization?: string): Promise<ClientAnswer> =>
    get(`${mirror.url}${path}`, {
      agent,
      headers: { accept: '*/*', ...(authorization && { authorization }) },
    });
  return {
    mirror,
    options,
    become: async (next, from) => {
      const { status } = await mirror.reload({ ...options, access: accessOf(next, from) });
      t.is(status, 200);
    },
    ask,
    pull: async (jwt) => (await ask(SECRET, basic(jwt))).status,
    post: async (form) => {
      const body = new URLSearchParams({ service: 'any', ...form }).toString();
      return get(`${mirror.url}/token`, {
        method: 'POST',
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          'content-length': String(body.length),
        },
        body,
      });
    },
    refusals: () =>
      mirror.log.filter(({ msg }) => msg === 'a JWT is refused').map(({ reason }) => reason),
  };
}

function accessOf(who: readonly string[], issuers: Issuers): AccessConfig {
  return {
    token: { ttl: 300_000 },
    ...issuers,
    rules: [
      { who: ['anonymous'], may: ['pull'], images: [`${HUB}/library/**`] },
      { who: [...who], may: ['pull', 'list'], images: [`${HUB}/org/**`] },
      { who: [...who], may: ['view'] },
    ],
  };
}

/** A JWT as a password of any user. */
export function basic(jwt: string, user = 'any'): string {
  return `Basic ${Buffer.from(`${user}:${jwt}`).toString('base64')}`;
}

/** Where the keys of a file are. */
export async function writeJwks(t: ExecutionContext, jwks: string): Promise<{ file: string }> {
  const file = join(await createTempFolder(t), 'jwks.json');
  writeFileSync(file, jwks);
  return { file };
}

export function tokenIn({ body }: ClientAnswer): string {
  return (JSON.parse(String(body)) as { access_token: string }).access_token;
}
