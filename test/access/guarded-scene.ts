import { hashSync } from '@node-rs/bcrypt';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Config } from '../../src/config/config.ts';
import { get, type ClientAnswer, type GetOptions } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import {
  createTempFolder,
  startMirror,
  type MirrorOptions,
  type TestMirror,
} from '../helpers/mirror.ts';

export const HUB = 'hub.example';
export const OPEN = buildImage({ seed: 'open', layers: [1000] });
export const PRIVATE = buildImage({ seed: 'private', layers: [1000] });

const RULES: NonNullable<Config['access']>['rules'] = [
  { who: ['anonymous'], may: ['pull'], images: [`${HUB}/library/**`] },
  { who: ['user:alice', 'token:ci'], may: ['pull', 'list'], images: [`${HUB}/org/**`] },
  { who: ['user:ops'], may: ['admin'] },
];

export interface GuardedScene {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  /** The file of users: alice (wonder) pulls `org/private`, ops (ops) is admin, bob (bob) may nothing. */
  readonly htpasswd: string;
  readonly ask: (path: string, options?: GetOptions) => Promise<ClientAnswer>;
  readonly admin: (path: string, options?: GetOptions) => Promise<ClientAnswer>;
}

/** A mirror with rules: `library/open:v1` is everybody's, `org/private:v1` is not. */
export async function startGuardedScene(
  t: ExecutionContext,
  options: Omit<MirrorOptions, 'upstreams'> = {},
): Promise<GuardedScene> {
  const registry = await FakeRegistry.start(t);
  registry.addImage('library/open', 'v1', OPEN);
  registry.addImage('org/private', 'v1', PRIVATE);
  const htpasswd = join(await createTempFolder(t), 'htpasswd');
  writeUsers(htpasswd, { alice: 'wonder', ops: 'ops', bob: 'bob' });
  const mirror = await startMirror(t, {
    upstreams: { [HUB]: { url: registry.url } },
    access: { token: { ttl: 300_000 }, htpasswd: { file: htpasswd }, rules: RULES },
    ...options,
  });
  const ask: GuardedScene['ask'] = async (path, request) => {
    const headers = { accept: '*/*', ...request?.headers };
    return get(`${mirror.url}${path}`, { ...request, headers });
  };
  const admin: GuardedScene['admin'] = async (path, request) => {
    const headers = { 'content-type': 'application/json', ...request?.headers };
    return get(`${mirror.server.adminUrl}${path}`, { ...request, headers });
  };
  return { registry, mirror, htpasswd, ask, admin };
}

/** As cheap to compare as bcrypt goes. */
export function writeUsers(path: string, users: Readonly<Record<string, string>>): void {
  const lines = Object.entries(users).map(
    ([user, password]) => `${user}:${hashSync(password, 4)}\n`,
  );
  writeFileSync(path, lines.join(''));
}

export function basic(user: string, password: string): { readonly authorization: string } {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
}

export function form(
  fields: Readonly<Record<string, string>>,
): Required<Pick<GetOptions, 'method' | 'headers' | 'body'>> {
  const body = new URLSearchParams(fields).toString();
  const headers = {
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': String(Buffer.byteLength(body)),
  };
  return { method: 'POST', headers, body };
}
