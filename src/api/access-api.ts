/** What the admin API needs of access control. Times are milliseconds since 1970. */
export interface AccessApi {
  tokens(): readonly ApiToken[];
  createToken(wish: TokenWish): Promise<NewApiToken>;
  /** False when there was none. */
  revokeToken(id: string): Promise<boolean>;
}

export interface TokenWish {
  /** Rules name it `token:NAME`. */
  readonly name: string;
  /** Who answers for it; rules do not look at it. */
  readonly owner: string;
  /** Without it, it counts until it is revoked. */
  readonly lifetimeMs?: number;
}

export interface ApiToken extends Pick<TokenWish, 'name' | 'owner'> {
  readonly id: string;
  readonly expiresAt?: number;
  readonly createdAt: number;
  /** The day on which it was last used. */
  readonly usedAt?: number;
}

export interface NewApiToken extends ApiToken {
  /** Told once. */
  readonly secret: string;
}
