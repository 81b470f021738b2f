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

/** As long as a scan may take. */
const TTL_MS = 10 * 60_000;
/** No rule names it, and no token of a client says so. */
const SUBJECT = { names: ['scanner'] };

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
  async issue(target: Target, digest: Digest): Promise<string> {
    const { token } = await this.#tokens.issue({
      subject: SUBJECT,
      grant: { kind: 'none' },
      repositories: [],
      catalog: false,
      image: { of: formatTarget(target), digest },
    });
    return `Bearer ${token}`;
  }

  /** `undefined` for what is no pass, or has ended. */
  async find(authorization: string | undefined): Promise<ScannedImage | undefined> {
    const [, token] = /^bearer +(\S+)$/i.exec(authorization ?? '') ?? [];
    if (token === undefined || !this.#isForUs(token)) return undefined;
    return (await this.#tokens.verify(token))?.image;
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
