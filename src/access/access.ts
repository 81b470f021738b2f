import { hash } from 'node:crypto';
import type { RuleReport, RuleVerdict } from '../api/access-api.ts';
import { includesWish } from '../config/access-schema.ts';
import { pathAlias } from '../config/registries.ts';
import type { Socket } from 'node:net';
import { RegistryError } from '../oci/errors.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import { isApiToken, type ApiTokens } from './api-tokens.ts';
import type { BearerTokens, Claims, Grant } from './bearer-tokens.ts';
import type { ClientCertificates } from './client-certificates.ts';
import { isJwt, type Issuers, type Verified } from './issuers.ts';
import type { Passwords } from './passwords.ts';
import type { Asker, Openness, Role, Rules, Verb } from './rules.ts';
import { ANONYMOUS, type Subject } from './subject.ts';

export interface AccessParts {
  readonly tokens: ApiTokens;
  readonly bearers: BearerTokens;
  readonly passwords: Passwords;
  readonly issuers: Issuers;
  /** Left out where clients are asked for none. */
  readonly certificates?: ClientCertificates | undefined;
  readonly rules: Rules;
  /** The hashes of the users, as the file has them now. */
  readonly users: () => ReadonlyMap<string, string>;
  /** By which tokens of this mirror are known. */
  readonly service: string;
}

/** Where a request comes from. */
export interface Origin {
  readonly address: string | undefined;
  /** Of the client itself, which may have shown a certificate on it. */
  readonly connection?: Socket | undefined;
}

/** Who shows what. */
export interface Shown extends Asker {
  readonly grant: Grant;
  /** A secret was shown that says nothing here: a pull secret of the upstream, a wrong password. */
  readonly isForeign: boolean;
  /** Why what was shown could not be looked at: too many wrong ones. */
  readonly refusal?: RegistryError;
  /** By a token that is for these alone. */
  readonly claims?: Claims;
}

type Found = Pick<Shown, 'subject' | 'grant' | 'claims'>;

/** A header longer than this is none of a client that is to be served. */
const MAX_HEADER = 16 * 1024;
const BEARER = 'Bearer ';
const JSON_KEY_USER = '_json_key';
/** Of the groups in one JWT that rules name; they stand in the tokens that are given for it. */
const MAX_GROUPS_LENGTH = 3000;

/** Who asks, and what they may: the one place for both. */
export class Access {
  readonly #parts: AccessParts;
  readonly #marks = new WeakMap<object, Map<string, string>>();
  /** Of JWTs, for as long as they are remembered as verified. */
  readonly #found = new WeakMap<Verified, Found>();

  constructor(parts: AccessParts) {
    this.#parts = parts;
  }

  get service(): string {
    return this.#parts.service;
  }

  /** A token, as clients expect the answer. */
  async issue(claims: Claims): Promise<object> {
    const { token, expiresIn, issuedAt } = await this.#parts.bearers.issue(claims);
    return {
      token,
      access_token: token,
      token_type: 'Bearer',
      expires_in: expiresIn,
      issued_at: new Date(issuedAt * 1000).toISOString(),
    };
  }

  /** Whether a token may be given for it: not for another one, nor for what has ended by now. */
  mayIssue({ grant, claims }: Shown): boolean {
    if (claims) return false;
    return grant.kind !== 'issuer' || this.#parts.issuers.counts(grant);
  }

  /** By the header `Authorization`, which counts before a certificate. */
  async identify(authorization: string | undefined, origin: Origin): Promise<Shown> {
    const known = this.recall(authorization, origin);
    if (known) return known;
    const [scheme, value] = readHeader(authorization ?? '');
    return this.#identify(origin, async () => {
      if (scheme === 'bearer') return this.#identifyBearer(value);
      const pair = scheme === 'basic' ? readPair(value) : undefined;
      return pair && this.#identifyPair(pair, origin);
    });
  }

  /**
   * As `identify`, and as `recognize`, where nothing has to be verified: nothing is shown, or a token that was
   * verified before. `undefined` says nothing.
   */
  recall(authorization: string | undefined, origin: Origin): Shown | undefined {
    if (!authorization) return { ...this.#withoutSecret(origin), isForeign: false };
    const [scheme, value] = readHeader(authorization);
    const known = scheme === 'bearer' ? this.#recall(value) : undefined;
    return known && { ...known, address: origin.address, isForeign: false };
  }

  /** By a name and a secret, as forms have them. */
  async identifyUser(user: string, secret: string, origin: Origin): Promise<Shown> {
    return this.#identify(origin, async () => this.#identifyPair({ user, secret }, origin));
  }

  /** By a JWT, as an assertion. */
  async identifyAssertion(jwt: string, origin: Origin): Promise<Shown> {
    return this.#identify(origin, async () => this.#identifyJwt(jwt));
  }

  /** A secret that says nothing here is as none. */
  async #identify(origin: Origin, look: () => Promise<Found | undefined>): Promise<Shown> {
    try {
      const found = await look();
      if (found) return { ...found, address: origin.address, isForeign: false };
      return { ...this.#withoutSecret(origin), isForeign: true };
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      return { ...this.#withoutSecret(origin), isForeign: true, refusal: error };
    }
  }

  #withoutSecret({ address, connection }: Origin): Found & Pick<Shown, 'address'> {
    const shown = this.#parts.certificates?.find(connection);
    if (!shown) return { subject: ANONYMOUS, grant: { kind: 'none' }, address };
    const { name, endsAt, authorities } = shown;
    const grant = { kind: 'certificate', endsAt, authorities } as const;
    return { subject: { names: [name] }, grant, address };
  }

  /**
   * Who stands in line for what is open to everybody, where it costs nothing to know: no password is
   * compared for it, and no issuer is asked.
   */
  async recognize(authorization: string | undefined, origin: Origin): Promise<Asker> {
    const [scheme, value] = readHeader(authorization ?? '');
    const pair = scheme === 'basic' ? readPair(value) : undefined;
    const found =
      scheme === 'bearer'
        ? await this.#identifyOwn(value)
        : pair && this.#isCheap(pair, origin)
          ? await this.#identifyPair(pair, origin)
          : undefined;
    return found ? { ...found, address: origin.address } : this.#withoutSecret(origin);
  }

  #isCheap({ user, secret }: Pair, { address }: Origin): boolean {
    if (isApiToken(secret)) return true;
    if (isJwt(secret)) return false;
    return user === JSON_KEY_USER || this.#parts.passwords.remembers(user, secret, address);
  }

  /** Throws `TOOMANYREQUESTS`. */
  async #identifyPair({ user, secret }: Pair, { address }: Origin): Promise<Found | undefined> {
    if (isApiToken(secret)) return this.#identifyToken(secret);
    if (isJwt(secret)) return this.#identifyJwt(secret);
    if (user === JSON_KEY_USER) return this.#identifyToken(secretOfKeyFile(secret) ?? '');
    if (!(await this.#parts.passwords.verify(user, secret, address))) return undefined;
    const mark = this.#markOf(user) ?? '';
    return { subject: { names: [`user:${user}`] }, grant: { kind: 'user', user, mark } };
  }

  #identifyToken(secret: string): Found | undefined {
    const token = this.#parts.tokens.find(secret);
    if (!token) return undefined;
    return { subject: { names: [`token:${token.name}`] }, grant: { kind: 'token', id: token.id } };
  }

  /** By a JWT of a configured issuer: an identity token, or that of a service account. */
  async #identifyJwt(jwt: string): Promise<Found | undefined> {
    const verified = await this.#parts.issuers.verify(jwt);
    if (!verified) return undefined;
    const found = this.#found.get(verified) ?? this.#withGroups(verified);
    this.#found.set(verified, found);
    return found;
  }

  /** Of thousands of groups those that rules name are looked for once: that takes longer than all else of a request. */
  #withGroups({ subject, grant }: Verified): Found {
    const [name = '', ...groups] = subject.names;
    let length = 0;
    const counting = groups.filter(
      (group) =>
        this.#parts.rules.names(group) && (length += Buffer.byteLength(group)) <= MAX_GROUPS_LENGTH,
    );
    return { subject: { names: [name, ...counting] }, grant };
  }

  async #identifyBearer(token: string): Promise<Found | undefined> {
    return (await this.#identifyOwn(token)) ?? this.#identifyJwt(token);
  }

  /** By what this mirror has given out. */
  async #identifyOwn(token: string): Promise<Found | undefined> {
    if (isApiToken(token)) return this.#identifyToken(token);
    return this.#claimed(await this.#parts.bearers.verify(token));
  }

  /** By a token that was verified before, at once. */
  #recall(token: string): Found | undefined {
    return this.#claimed(this.#parts.bearers.recall(token));
  }

  #claimed(claims: Claims | undefined): Found | undefined {
    if (!claims || !this.#counts(claims.grant)) return undefined;
    return { subject: claims.subject, grant: claims.grant, claims };
  }

  /** Whether what a token was given for still stands. */
  #counts(grant: Grant): boolean {
    if (grant.kind === 'token') return this.#parts.tokens.findById(grant.id) !== undefined;
    if (grant.kind === 'issuer') return this.#parts.issuers.counts(grant);
    if (grant.kind === 'none') return true;
    if (grant.kind === 'certificate') return this.#parts.certificates?.counts(grant) ?? false;
    return this.#markOf(grant.user) === grant.mark;
  }

  /** Of the password that a user has now; made once while the file says the same. */
  #markOf(user: string): string | undefined {
    const users = this.#parts.users();
    const marks = this.#marks.get(users) ?? new Map<string, string>();
    this.#marks.set(users, marks);
    const known = marks.get(user);
    if (known !== undefined) return known;
    const passwordHash = users.get(user);
    if (passwordHash === undefined) return undefined;
    const mark = markOf(passwordHash);
    marks.set(user, mark);
    return mark;
  }

  /** Whether a user, or a token, of this name is there now; of other kinds nobody has a list. */
  knows(name: string): boolean {
    const [kind] = name.split(':', 1);
    const rest = name.slice(name.indexOf(':') + 1);
    if (kind === 'user') return this.#parts.users().has(rest);
    return kind !== 'token' || this.#parts.tokens.has(rest);
  }

  allow(asker: Asker, verb: Verb, target: Target): boolean {
    return this.#parts.rules.allow(asker, verb, target);
  }

  /** Where it is for everybody, or for all of a network, nobody has to say who it is. */
  openTo(verb: Verb, target: Target, address: string | undefined): Openness | undefined {
    return this.#parts.rules.openTo(verb, target, address);
  }

  /** As `allow`, with the rule that decides. */
  explain(asker: Asker, verb: Verb, target: Target): RuleVerdict {
    return this.#parts.rules.explain(asker, verb, target);
  }

  /** The rules that give this of an image to somebody. */
  rulesAbout(verb: Verb, target: Target): readonly RuleReport[] {
    return this.#parts.rules.about(verb, target);
  }

  /** Whether there is anything that rules give the verb for. */
  allowsSome(asker: Asker, verb: Verb): boolean {
    return this.#parts.rules.allowsSome(asker, verb);
  }

  /** At the admin door: by a rule, or by the role with which its token was made. */
  hasRole(asker: Shown, role: Role): boolean {
    const { grant } = asker;
    const own = grant.kind === 'token' ? this.#parts.tokens.findById(grant.id)?.role : undefined;
    if (own !== undefined && includesWish(own, role)) return true;
    return this.#parts.rules.hasRole(asker, role);
  }
}

interface Pair {
  readonly user: string;
  readonly secret: string;
}

/** Its scheme and what follows; nothing of what is no such header. */
function readHeader(authorization: string): readonly [scheme: string, value: string] {
  if (authorization.length > MAX_HEADER) return ['', ''];
  // As nearly all clients write it; the expression goes through all of a token.
  if (authorization.startsWith(BEARER)) return ['bearer', authorization.slice(BEARER.length)];
  const [, scheme = '', value = ''] = /^(\S+) +(\S+)$/.exec(authorization) ?? [];
  return [scheme.toLowerCase(), value];
}

/** As Basic authentication has it. */
function readPair(encoded: string): Pair | undefined {
  const pair = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = pair.indexOf(':');
  if (colon === -1) return undefined;
  return { user: pair.slice(0, colon), secret: pair.slice(colon + 1) };
}

/** A repository that is asked for, and its name as the client wrote it. */
export interface NamedTarget {
  readonly target: Target;
  readonly name: string;
}

/**
 * Whether a token is for this repository: it names it with its registry or without, or as the client asks
 * for it now. Docker and Podman ask for a token by what stands in the path.
 */
export function isInScope(
  { claims }: Pick<Shown, 'claims'>,
  { target, name }: NamedTarget,
): boolean {
  if (!claims) return true;
  const { upstream, repository } = target;
  return claims.repositories.some(
    (each) =>
      each === name ||
      each === repository ||
      each === formatTarget(target) ||
      each === `${pathAlias(upstream)}/${repository}`,
  );
}

export function isAnonymous({ subject }: { readonly subject: Subject }): boolean {
  return subject.names.length === 0;
}

/** A password that was changed is another grant. */
function markOf(passwordHash: string): string {
  return hash('sha256', passwordHash, 'base64url').slice(0, 16);
}

/** The secret of a key file that is given as a password; those of other issuers have another type. */
function secretOfKeyFile(text: string): string | undefined {
  try {
    const { type, secret } = JSON.parse(text) as { type?: unknown; secret?: unknown };
    return type === 'entrepot_key' && typeof secret === 'string' ? secret : undefined;
  } catch {
    return undefined;
  }
}
