/**
 * Two registries with equal names, rules of every kind, and all who may ask: what the generated tests of
 * access control are about. What each may is written down beside it, in the plainest words.
 */
import { hashSync } from '@node-rs/bcrypt';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { get } from '../helpers/client.ts';
import { Clock, MINUTE } from '../helpers/clock.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildArtifact, buildImage, type Image } from '../helpers/image.ts';
import { createTempFolder, startMirror, type TestMirror } from '../helpers/mirror.ts';
import { jwksOf, SigningKey } from './fake-issuer.ts';
import { writeJwks } from './private-mirror.ts';

export const HUB = 'hub.example:5000';
export const OTHER = 'docker.io';
export const INSIDE = '10.2.0.9';
export const CLUSTER = 'https://kubernetes.default.svc';
export const PROVIDER = 'https://id.example';
export const DESK = '10.3.0.9';

/** By the first part of their names. Of each there is `here1`, which exists, and `away1`, which does not. */
export const KINDS = ['open', 'lsts', 'nets', 'team', 'pull', 'tags', 'desk', 'none'] as const;
export type Kind = (typeof KINDS)[number];
export type Verb = 'pull' | 'list';
export type Who =
  'nobody' | 'inside' | 'stranger' | 'bob' | 'alice' | 'alice at desk' | 'ci' | 'dev' | 'keeper';

export const RULES = [
  { who: ['anonymous'], may: ['pull' as const], images: [`${HUB}/open/**`] },
  { who: ['anonymous'], may: ['list' as const], images: [`${HUB}/lsts/*`] },
  {
    who: ['anonymous'],
    from: ['10.2.0.0/16'],
    may: ['pull' as const, 'list' as const],
    images: [`${HUB}/nets/**`],
  },
  {
    who: ['user:al*', 'token:ci', 'k8s:prod:team-a:*', 'cert:builder'],
    may: ['pull' as const, 'list' as const],
    images: [`${HUB}/team/*`],
  },
  {
    who: ['user:alice', 'group:devs'],
    may: ['pull' as const],
    images: [`${HUB}/pull/{here,away}1`],
  },
  { who: ['user:alice'], may: ['list' as const], images: [`${HUB}/tags/**`] },
  { who: ['user:alice'], from: ['10.3.0.0/16'], may: ['pull' as const], images: [`${HUB}/desk/*`] },
  // Of another registry: equal names are other repositories.
  { who: ['anonymous'], may: ['pull' as const, 'list' as const], images: [`${OTHER}/none/**`] },
  { who: ['user:bob'], may: ['pull' as const], images: [`${OTHER}/team/*`] },
  { who: ['user:keeper'], may: ['pull' as const, 'list' as const], images: ['**'] },
  { who: ['user:keeper'], may: ['admin' as const] },
];

type Rights = Readonly<Partial<Record<Kind, Readonly<Partial<Record<Who, readonly Verb[]>>>>>>;

/** Beside what everybody may, and the keeper, who may everything. */
const MAY: Readonly<Record<string, Rights>> = {
  [HUB]: {
    open: { nobody: ['pull'] },
    lsts: { nobody: ['list'] },
    nets: { inside: ['pull', 'list'] },
    team: { alice: ['pull', 'list'], 'alice at desk': ['pull', 'list'], ci: ['pull', 'list'] },
    pull: { alice: ['pull'], 'alice at desk': ['pull'], dev: ['pull'] },
    tags: { alice: ['list'], 'alice at desk': ['list'] },
    desk: { 'alice at desk': ['pull'] },
  },
  [OTHER]: { none: { nobody: ['pull', 'list'] }, team: { bob: ['pull'] } },
};

export function mayDo(who: Who, upstream: string, kind: Kind, verb: Verb): boolean {
  return who === 'keeper' || MAY[upstream]?.[kind]?.[who]?.includes(verb) === true;
}

export interface Identity {
  readonly headers: Readonly<Record<string, string>>;
  /** Whom it stands for; what says nothing here stands for nobody. */
  readonly who: Who;
  /** A token that is for other repositories. */
  readonly isNarrow?: boolean;
  /** A short-lived token of ours that counts. */
  readonly isToken?: boolean;
}

export interface World {
  readonly mirror: TestMirror;
  readonly registries: Readonly<Record<string, FakeRegistry>>;
  readonly clock: Clock;
  readonly htpasswd: string;
  /** Of the cluster `prod`; the accounts of its namespace `team-a` may what the API token `ci` may. */
  readonly cluster: SigningKey;
  /** Of the provider `corp`, whose groups are groups. */
  readonly provider: SigningKey;
  image(upstream: string, kind: Kind): Image;
  /** The one that is attached to it. */
  attached(upstream: string, kind: Kind): Image;
  /** Closes the mirror and starts another one on its store, that asks nobody. */
  goOffline(): Promise<World>;
}

const USERS = ['alice', 'bob', 'keeper', 'dave'] as const;

/** Paths of what the listener shows, and of who signs the certificates of clients. */
interface WorldTls {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** With TLS no proxy stands in front, for behind one no certificate counts, and the time is that of this machine. */
export async function startWorld(t: ExecutionContext, tls?: WorldTls): Promise<World> {
  const clock = new Clock();
  const registries = { [HUB]: await FakeRegistry.start(t), [OTHER]: await FakeRegistry.start(t) };
  const images = new Map<string, { image: Image; attached: Image }>();
  for (const [upstream, registry] of Object.entries(registries)) {
    for (const kind of KINDS) {
      const seed = `${upstream}/${kind}`;
      const image = buildImage({ seed, layers: [500] });
      const attached = buildArtifact({ seed, artifactType: 'a/b', subject: image.manifest });
      registry.addImage(`${kind}/here1`, 'v1', image);
      registry.addImage(`${kind}/here1`, undefined, attached);
      images.set(seed, { image, attached });
    }
  }
  const htpasswd = join(await createTempFolder(t), 'htpasswd');
  writeUsers(htpasswd, Object.fromEntries(USERS.map((user) => [user, user])));
  const [cluster, provider] = [new SigningKey(), new SigningKey()];
  const jwks = await writeJwks(t, jwksOf(cluster));
  const kubernetes = [{ name: 'prod', issuer: CLUSTER, audience: 'entrepot', jwks }];
  const oidc = [
    {
      name: 'corp',
      issuer: PROVIDER,
      audience: 'entrepot',
      jwks: await writeJwks(t, jwksOf(provider)),
      subject: 'sub',
      groups: 'groups',
    },
  ];
  const storePath = await createTempFolder(t);
  const start = async (isOffline: boolean): Promise<World> => {
    const mirror = await startMirror(t, {
      upstreams: {
        [OTHER]: { url: registries[OTHER].url },
        [HUB]: { url: registries[HUB].url, hosts: ['hub.mirror'] },
      },
      offline: isOffline,
      storePath,
      ...(tls
        ? { listen: { tls: { cert: tls.cert, key: tls.key } } }
        : { clock, trustProxy: ['127.0.0.1'] }),
      access: {
        token: { ttl: 5 * MINUTE },
        htpasswd: { file: htpasswd },
        kubernetes,
        oidc,
        ...(tls && { certificates: { ca: tls.ca } }),
        rules: RULES,
      },
    });
    const find = (upstream: string, kind: Kind) => images.get(`${upstream}/${kind}`)!;
    return {
      mirror,
      registries,
      clock,
      htpasswd,
      cluster,
      provider,
      image: (upstream, kind) => find(upstream, kind).image,
      attached: (upstream, kind) => find(upstream, kind).attached,
      goOffline: async () => {
        await mirror.stop();
        return start(true);
      },
    };
  };
  return start(false);
}

export function writeUsers(path: string, passwords: Readonly<Record<string, string>>): void {
  const lines = Object.entries(passwords).map(([user, text]) => `${user}:${hashSync(text, 4)}\n`);
  writeFileSync(path, lines.join(''));
}

export function basic(user: string, password: string): { authorization: string } {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
}

export function bearer(token: string): { authorization: string } {
  return { authorization: `Bearer ${token}` };
}

/** Every repository of both registries, as scopes name them. */
export function scopesOf(names: (upstream: string, repository: string) => string): string[] {
  return [HUB, OTHER].flatMap((upstream) =>
    KINDS.flatMap((kind) =>
      ['here1', 'away1'].map((last) => `repository:${names(upstream, `${kind}/${last}`)}:pull`),
    ),
  );
}

/** From `/token`, as Docker asks for it. */
export async function tokenFor(
  { url }: Pick<TestMirror, 'url'>,
  headers: Readonly<Record<string, string>>,
  scopes: readonly string[] = scopesOf((upstream, repository) => `${upstream}/${repository}`),
): Promise<string> {
  const query = new URLSearchParams([['service', 'any'], ...scopes.map((each) => ['scope', each])]);
  const { status, body } = await get(`${url}/token?${query.toString()}`, { headers });
  if (status !== 200) throw new Error(`no token: ${status} ${String(body)}`);
  return (JSON.parse(String(body)) as { token: string }).token;
}

/** By OAuth2, as containerd asks for it. */
export async function tokenByForm(
  { url }: Pick<TestMirror, 'url'>,
  fields: Readonly<Record<string, string>>,
): Promise<string> {
  const form = new URLSearchParams({ service: 'any', ...fields }).toString();
  const { status, body } = await get(`${url}/token`, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': String(Buffer.byteLength(form)),
    },
    body: form,
  });
  if (status !== 200) throw new Error(`no token: ${status} ${String(body)}`);
  return (JSON.parse(String(body)) as { access_token: string }).access_token;
}

export async function createToken(
  mirror: TestMirror,
  name: string,
): Promise<{ id: string; secret: string }> {
  const { status, body } = await get(`${mirror.server.adminUrl}/api/v1/tokens`, {
    method: 'POST',
    headers: { ...basic('keeper', 'keeper'), 'content-type': 'application/json' },
    body: JSON.stringify({ name }),
  });
  if (status !== 201) throw new Error(`no token was made: ${status} ${String(body)}`);
  return JSON.parse(String(body)) as { id: string; secret: string };
}

export async function revokeToken({ server }: TestMirror, id: string): Promise<void> {
  const { status } = await get(`${server.adminUrl}/api/v1/tokens/${id}`, {
    method: 'DELETE',
    headers: basic('keeper', 'keeper'),
  });
  if (status !== 204) throw new Error(`the token was not revoked: ${status}`);
}
