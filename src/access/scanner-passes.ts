import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import type { Clock } from '../time/clock.ts';
import type { AccessKeys } from './access-keys.ts';
import { BearerTokens, type ScannedImage } from './bearer-tokens.ts';

export interface ScannerPassesParts {
  readonly keys: Pick<AccessKeys, 'signing' | 'find'>;
  readonly clock: Clock;
  /** Of the store: passes of another mirror are none here. */
  readonly id: string;
}

export interface ScannerPass extends ScannedImage {
  /** It came as a password: this is for who asks for a token in its place. */
  readonly token?: string;
}

/** As long as a scan may take. */
const TTL_MS = 10 * 60_000;
/** With the token as its password. */
const USER = 'scanner';
/** No rule names it, and no token of a client says so. */
const SUBJECT = { names: [USER] };

/**
 * What a vulnerability scanner shows to fetch the one image that it looks into, where `access` is not set
 * too. A pass is signed with the keys of the clients' tokens, for another audience: neither counts as the
 * other. It ends after ten minutes.
 */
export class ScannerPasses {
  readonly #tokens: BearerTokens;
  readonly #service: string;

  constructor({ id, ...parts }: ScannerPassesParts) {
    this.#service = `entrepot-scanner:${id}`;
    this.#tokens = new BearerTokens({ ...parts, service: this.#service, ttlMs: TTL_MS });
  }

  /** A header `Authorization`. */
  async issue(target: Target, digest: Digest, scheme: 'Basic' | 'Bearer'): Promise<string> {
    const { token } = await this.#tokens.issue({
      subject: SUBJECT,
      grant: { kind: 'none' },
      repositories: [],
      catalog: false,
      image: { of: formatTarget(target), digest },
    });
    if (scheme === 'Bearer') return `Bearer ${token}`;
    return `Basic ${Buffer.from(`${USER}:${token}`).toString('base64')}`;
  }

  /** `undefined` for what is no pass, or has ended. */
  async find(authorization: string | undefined): Promise<ScannerPass | undefined> {
    const [, scheme = '', value = ''] = /^(bearer|basic) +(\S+)$/i.exec(authorization ?? '') ?? [];
    const isPassword = scheme.toLowerCase() === 'basic';
    const token = isPassword ? passwordOf(value) : value;
    if (!this.#isForUs(token)) return undefined;
    const image = (await this.#tokens.verify(token))?.image;
    return image && { ...image, ...(isPassword && { token }) };
  }

  /** Before anything is verified: nearly all that is shown is a client's. */
  #isForUs(token: string): boolean {
    try {
      const [, payload = ''] = token.split('.', 2);
      const { aud } = JSON.parse(String(Buffer.from(payload, 'base64url'))) as { aud?: unknown };
      return aud === this.#service;
    } catch {
      return false;
    }
  }
}

function passwordOf(credentials: string): string {
  const [user, password = ''] = Buffer.from(credentials, 'base64').toString().split(':', 2);
  return user === USER ? password : '';
}
