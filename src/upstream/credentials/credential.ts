/**
 * What proves who pulls.
 * - `password`: name and password, as Basic or for the registry's token service.
 * - `identity-token`: a refresh token that the token service exchanges (OAuth2, POST).
 * - `bearer`: goes to the registry as it is.
 */
export type Credential =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  | { readonly kind: 'identity-token'; readonly token: string }
  | { readonly kind: 'bearer'; readonly token: string };

/** Where a credential comes from: the configuration, or a provider that issues one for some time. */
export interface CredentialSource {
  /** For the operator, without a secret: `robot`, `ecr`. */
  readonly label: string;
  /** The one to use now. Throws `UpstreamError` when there is none to be had. */
  get(): Promise<Credential>;
  /** The registry did not take it. True when another `get` may bring a newer one. */
  refuse(credential: Credential): boolean;
}
