/**
 * One family of registries as the contract suite sees it: a script for the fake registry, what the
 * mirror is given to log in, and what a client must hear.
 *
 *   const scene = await startFamily(t, family, 'credentials');
 *   await scene.manifest('latest');
 *   t.deepEqual(spoken(scene.registry), heard(family, 'credentials', [HEAD_LATEST]));
 */
import type { ExecutionContext } from 'ava';
import type { FakeRegistry, FakeRegistryOptions } from './fake-registry.ts';
import type { UpstreamOptions } from './mirror.ts';
import { REPOSITORY, UPSTREAM, startScene, type Scene, type SceneOptions } from './scene.ts';

type Credentials = NonNullable<UpstreamOptions['credentials']>;

export type LoginKind = 'anonymous' | 'credentials';

/** A refusal of the registry (with 401 or 403) or of its token service. */
export interface Refused {
  /** `mirror`: the challenge asks for what is not configured. */
  readonly at: 'registry' | 'token' | 'mirror';
  readonly status: 401 | 403;
  /** What its own JSON adds: `CODE: message`. A HEAD has none, so a GET follows that brings it. */
  readonly words?: string;
}

export interface Family {
  readonly name: string;
  readonly registry: FakeRegistryOptions;
  readonly credentials?: Credentials;
  readonly wrong?: Credentials;
  /** Pulls without credentials; of private repositories they are refused. */
  readonly isOpen: boolean;
  /** The first token is asked for only after the ping told where. */
  readonly pings?: boolean;
  readonly tokenMethod?: 'GET' | 'POST';
  /** How a token request shows its scopes. Default: the repository's scope. */
  readonly tokenScopes?: (scope: string) => string;
  /** How long the mirror uses a token, seconds; absent: no tokens. */
  readonly tokenSeconds?: number;
  /** `absent`: 404, also for the client. Default `absent`. */
  readonly missingRepository?: 'absent' | Refused;
  readonly privateRepository?: Refused;
  readonly wrongCredentials?: Refused;
  /** What a GET of a manifest adds to 429. */
  readonly limited: string;
  /** The lines behind the first that 1200 tags take, without `GET `. Default: none. */
  readonly tagPages: readonly string[];
  /** The order of the lines for a subject with a signature. */
  readonly referrers: 'api' | 'tag';
}

export const TAGS = Array.from({ length: 1200 }, (_, turn) => `v${String(turn).padStart(4, '0')}`);
export const PRIVATE = 'library/private';
export const LIST = `/v2/${REPOSITORY}/tags/list`;

/** What most families need when nothing is asked of them but content. */
export const HEAD_LATEST = `HEAD /v2/${REPOSITORY}/manifests/latest`;
export const GET_APP = `GET /v2/${REPOSITORY}/manifests/<app>`;

export async function startFamily(
  t: ExecutionContext,
  family: Family,
  login: LoginKind | 'wrong' = usualLogin(family),
  options: SceneOptions = {},
): Promise<Scene> {
  const credentials = login === 'anonymous' ? undefined : family[login];
  return startScene(t, {
    ...options,
    registry: family.registry,
    upstream: { ...options.upstream, ...(credentials && { credentials }) },
  });
}

export function usualLogin({ credentials }: Family): LoginKind {
  return credentials ? 'credentials' : 'anonymous';
}

export function loginsOf({ isOpen, credentials }: Family): LoginKind[] {
  return [
    ...(isOpen ? ['anonymous' as const] : []),
    ...(credentials ? ['credentials' as const] : []),
  ];
}

/** The conversation, each line with what the request showed of itself: `GET /v2/ [bearer:robot]`. */
export function spoken(registry: FakeRegistry): string[] {
  const lines = registry.conversation();
  return registry.requests.map(({ authorization }, index) => `${lines[index]} [${authorization}]`);
}

/** What requests show that pass. */
export function proof({ registry: { auth } }: Family, login: LoginKind): string {
  if (!auth) return 'none';
  const user = auth.kind === 'bearer' && auth.identityToken ? '<token>' : auth.username;
  return `${auth.kind}:${login === 'anonymous' ? 'anonymous' : user}`;
}

/** The lines that a token costs, after the greeting or after a challenge of its repository. */
export function tokenLines(
  family: Family,
  login: LoginKind | 'wrong',
  repository = REPOSITORY,
  isChallenged = false,
): string[] {
  const { auth } = family.registry;
  if (auth?.kind !== 'bearer') return [];
  const plain = (scope: string): string => scope;
  // Some challenges of a repository say it in a way of their own, which `/v2/` does not.
  const isOwn = isChallenged || login === 'anonymous' || auth.scope !== undefined;
  const { tokenScopes = plain } = isOwn ? family : {};
  // Without a credential there is only the GET form.
  const tokenMethod = login === 'anonymous' ? 'GET' : (family.tokenMethod ?? 'GET');
  const scope = tokenScopes(`repository:${repository}:pull`);
  const isBasic = login !== 'anonymous' && tokenMethod === 'GET';
  return [`${tokenMethod} token ${scope} [${isBasic ? `basic:${auth.username}` : 'none'}]`];
}

/**
 * All requests that these of the mirror lead to, with the redirects behind them, and before them how
 * the login is learned.
 */
export function heard(
  family: Family,
  login: LoginKind,
  lines: readonly string[],
  { isKnown = false, repository = REPOSITORY } = {},
): string[] {
  const shown = proof(family, login);
  const passed = lines.flatMap((line) => [`${line} [${shown}]`, ...hops(family, line)]);
  if (isKnown || !family.registry.auth) return passed;
  return [...greeted(family, login, lines[0]), ...tokenLines(family, login, repository), ...passed];
}

/** How the login is learned: an account asks `/v2/` before all else, others are asked for one. */
export function greeted(
  family: Family,
  login: LoginKind | 'wrong',
  line: string | undefined,
): string[] {
  const ping = 'GET /v2/ [none]';
  if (login !== 'anonymous') return [ping];
  return [`${line} [none]`, ...(family.pings ? [ping] : [])];
}

/** Where a request is sent on to, without any proof. */
function hops({ registry: { front, redirectBlobs } }: Family, line: string): string[] {
  const [method = '', path = ''] = line.split(' ');
  const blob = /\/blobs\/(<.*>)$/.exec(path)?.[1];
  if (blob !== undefined) {
    const isSentOn = redirectBlobs !== undefined && method === 'GET';
    return isSentOn ? [`GET storage /blobs/${blob} [none]`] : [];
  }
  if (front === undefined) return [];
  return [`${method} storage /v2/${front}/${path.slice('/v2/'.length).split('?')[0]} [none]`];
}

/** The message of a refusal behind the name of the upstream. */
export function causeOf(
  { at, status, words }: Refused,
  registry: FakeRegistry,
  login: LoginKind | 'wrong',
): string {
  if (at === 'mirror') return 'asks for a login and no credentials are configured';
  const said = words === undefined ? '' : `: ${words}`;
  if (at === 'token') {
    const who = login === 'anonymous' ? 'an anonymous request' : 'the configured credentials';
    return `the token service ${registry.tokenHost} answered ${status} to ${who}${said}`;
  }
  const who = login === 'anonymous' ? 'anonymously' : 'with the configured credentials';
  return `${registry.host} ${status === 401 ? 'refused' : 'denied'} access ${who} (${status})${said}`;
}

/** The client's whole answer to a refusal. */
export function denial(
  refused: Refused,
  registry: FakeRegistry,
  login: LoginKind | 'wrong',
): Record<string, unknown> {
  return {
    status: 403,
    code: 'DENIED',
    message: `${UPSTREAM}: ${causeOf(refused, registry, login)}`,
    detail: {
      upstream: UPSTREAM,
      fault: refused.at === 'registry' && refused.status === 403 ? 'denied' : 'unauthorized',
      ...(refused.at !== 'mirror' && { upstreamStatus: refused.status }),
    },
  };
}
