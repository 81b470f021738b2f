import { LRUCache } from 'lru-cache';
import type { TransportResponse } from '../net/transport.ts';
import { Authenticator, type AuthenticatorParts } from './authenticator.ts';
import { chooseChallenge, parseChallenges } from './challenge.ts';
import { ChallengeProbe } from './challenge-probe.ts';

type RedirectLoginsParts = Omit<AuthenticatorParts, 'registry' | 'credentials' | 'challengeProbe'>;

/** A gateway to more registries than these has the last ones' tokens. */
const MAX_REGISTRIES = 8;
const CONTENT = /\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\/[^/]+$/;

/**
 * The logins at other registries that the upstream, a gateway, redirects requests to. Each is asked as
 * anybody may, by its own challenge and with a token of its own; no credential of the upstream goes there.
 */
export class RedirectLogins {
  readonly #parts: RedirectLoginsParts;
  readonly #registries = new LRUCache<string, Authenticator>({ max: MAX_REGISTRIES });

  constructor(parts: RedirectLoginsParts) {
    this.#parts = parts;
  }

  /** What an earlier challenge of that registry asked for; `undefined` where none did. */
  async anticipate(url: URL): Promise<string | undefined> {
    const scope = scopeOf(url);
    const registry = scope === undefined ? undefined : this.#registries.get(url.origin);
    return scope === undefined ? undefined : (await registry?.anticipate(scope))?.authorization;
  }

  /** The answer to a 401 of that registry; `undefined` where there is none, as for storage. */
  async answer(
    url: URL,
    { challenges }: Pick<TransportResponse, 'challenges'>,
    refused: string | undefined,
  ): Promise<string | undefined> {
    const scope = scopeOf(url);
    const challenge = chooseChallenge(parseChallenges(challenges));
    if (scope === undefined || challenge?.scheme !== 'bearer') return undefined;
    const registry = this.#registryOf(url);
    await registry.learn(challenges);
    const { authorization, token } = await registry.answer(challenge, scope);
    if (authorization !== refused || !token) return authorization;
    token.drop(authorization);
    return (await registry.answer(challenge, scope)).authorization;
  }

  #registryOf({ origin }: URL): Authenticator {
    const known = this.#registries.get(origin);
    if (known) return known;
    const parts = { ...this.#parts, registry: new URL('/v2/', origin) };
    const authenticator = new Authenticator({
      ...parts,
      challengeProbe: new ChallengeProbe(parts),
    });
    this.#registries.set(origin, authenticator);
    return authenticator;
  }
}

/** The scope of a request to a registry; `undefined` for the address of a storage host. */
function scopeOf({ pathname }: URL): string | undefined {
  const repository = CONTENT.exec(pathname)?.[1];
  return repository === undefined ? undefined : `repository:${repository}:pull`;
}
