import { hash } from 'node:crypto';
import { isSubjectOf, parseSubjectName, type SubjectName } from '../../config/subject-name.ts';
import { Refused } from '../signatures/refused.ts';
import type { SignedImage } from '../signatures/signed-image.ts';
import type { Refusal, Signer, Verified } from '../verdict.ts';
import { readSigning, type Signing } from './attributes.ts';
import { checkChain } from './chain.ts';
import { readCose } from './cose.ts';
import type { Envelope } from './envelope.ts';
import { readJws } from './jws.ts';
import { refuse } from './refuse.ts';
import { isSignedBy } from './signing-algorithm.ts';
import { checkTarget } from './target-artifact.ts';
import { faultOfTime, readTimestamp, type Span } from './timestamp.ts';
import type { TrustStores } from './trust-stores.ts';

/** A layer of a manifest of Notation's. */
export interface NotationLayer {
  readonly mediaType: string;
  readonly envelope: Uint8Array;
}

interface NotationAsked {
  readonly image: SignedImage;
  /** Those who signed with Notation; the others are passed over. */
  readonly signers: readonly Signer[];
  /** Milliseconds since 1970. */
  readonly now: number;
}

type NotationSigner = Extract<Signer, { kind: 'notation' }>;
type Times = Pick<Verified, 'at' | 'until'>;

const MAX_BYTES = 2 ** 20;
const READERS: Readonly<Record<string, (bytes: Uint8Array, most: number) => Envelope>> = {
  'application/jose+json': readJws,
  'application/cose': readCose,
};

/**
 * What Notation signatures are worth. Nothing is asked of any network, revocation neither, and nothing that is
 * handed in makes it throw. At most 1 MiB. It brings its libraries: who may never need it imports it when it is
 * first asked.
 * @see https://github.com/notaryproject/specifications/blob/main/specs/trust-store-trust-policy.md#signature-verification
 */
export class Notation {
  readonly #stores: TrustStores;
  /** Of the configuration: as many as it has. */
  readonly #names = new Map<string, SubjectName>();

  constructor(stores: TrustStores) {
    this.#stores = stores;
  }

  /**
   * At the level `audit` a signature counts that is whole and of this image, whoever made it and whenever; what
   * `strict` would have refused is `doubt` of what is handed back.
   */
  verify({ mediaType, envelope: bytes }: NotationLayer, asked: NotationAsked): Verified | Refusal {
    const what = `sha256:${hash('sha256', bytes, 'hex')}`;
    const signers = asked.signers.filter((signer) => signer.kind === 'notation');
    let isRead = false;
    try {
      const reader = READERS[mediaType];
      if (!reader) throw refuse('media-type', { type: mediaType });
      const envelope = reader(bytes, MAX_BYTES);
      isRead = true;
      const signing = checkIntegrity(envelope, asked.image);
      const identity = envelope.chain[0].name;
      const { times, doubt } = this.#authenticity({ envelope, signing, signers, now: asked.now });
      const signer = { kind: 'notation', identity, level: doubt ? 'audit' : 'strict' } as const;
      return { signer, what, ...times, ...(doubt && { doubt: { ...doubt, what } }) };
    } catch (error) {
      return { ...asRefusal(error, isRead), what };
    }
  }

  #authenticity(parts: {
    readonly envelope: Envelope;
    readonly signing: Signing;
    readonly signers: readonly NotationSigner[];
    readonly now: number;
  }): { readonly times?: Times; readonly doubt?: Refusal } {
    const { envelope, signing, signers, now } = parts;
    try {
      this.#checkStore(envelope, signing);
      this.#checkIdentity(envelope, signers);
      return { times: this.#checkTimes(envelope, signing, now) };
    } catch (error) {
      if (!signers.some(({ level }) => level === 'audit')) throw error;
      return { doubt: asRefusal(error, true) };
    }
  }

  #checkStore({ chain }: Envelope, { scheme }: Signing): void {
    const type = scheme === 'notary.x509' ? 'ca' : 'signingAuthority';
    const trusted = this.#stores[type];
    const isKnown = chain.some((each) => trusted.some((certificate) => certificate.equals(each)));
    if (!isKnown) throw refuse('store', { type });
  }

  #checkIdentity({ chain: [leaf] }: Envelope, signers: readonly NotationSigner[]): void {
    const { subject, name } = leaf;
    const isNamed = signers.some(
      ({ identity }) => subject && isSubjectOf(this.#nameOf(identity), subject),
    );
    if (!isNamed) throw refuse('identity', { identity: name });
  }

  /** When it was signed by the word of somebody else, and from when on it counts no longer. */
  #checkTimes(envelope: Envelope, { scheme, at, ends }: Signing, now: number): Times {
    if (ends !== undefined && now >= ends) {
      throw refuse('expired', { at: new Date(ends).toISOString() });
    }
    const until = ends === undefined ? {} : { until: ends };
    if (scheme === 'notary.x509.signingAuthority') {
      checkValid(envelope, { from: at, until: at });
      return { at, ...until };
    }
    const span = this.#timestampOf(envelope, now);
    if (span) {
      checkValid(envelope, span);
      return { at: span.until, ...until };
    }
    checkValid(envelope, { from: now, until: now });
    const ended = Math.min(ends ?? Infinity, ...envelope.chain.map((each) => each.until + 1));
    return { until: ended };
  }

  /** While the certificates are valid a timestamp that proves nothing takes nothing away: it may be left out. */
  #timestampOf({ chain, timestamp, signature }: Envelope, now: number): Span | undefined {
    if (!timestamp) return undefined;
    try {
      return readTimestamp(timestamp, signature, this.#stores.tsa);
    } catch (error) {
      if (chain.some(({ until }) => now > until)) throw error;
      return undefined;
    }
  }

  #nameOf(identity: string): SubjectName {
    const known = this.#names.get(identity) ?? parseSubjectName(identity);
    this.#names.set(identity, known);
    return known;
  }
}

/** That it is whole and of this image, and that its signer may sign at all. */
function checkIntegrity(envelope: Envelope, image: SignedImage): Signing {
  const { chain, algorithm, attributes, payload, signed, signature } = envelope;
  if (algorithm.named !== algorithm.wanted) throw refuse('algorithm', algorithm);
  if (!isSignedBy(chain[0].key, signed, signature)) throw refuse('signature');
  const signing = readSigning(attributes);
  checkTarget(payload, attributes.get('cty'), image);
  checkChain(chain, 'code');
  return signing;
}

function checkValid({ chain }: Envelope, span: Span): void {
  for (const { name, from, until } of chain) {
    const why = faultOfTime({ from, until }, span);
    if (why !== undefined) throw refuse('validity', { name, why });
  }
}

/** Whatever it was that was thrown, it is a refusal. */
function asRefusal(error: unknown, isRead: boolean): Refusal {
  if (error instanceof Refused) return { code: error.code, reason: error.message };
  const why = error instanceof Error ? error.message.slice(0, 200) : 'unknown';
  const { code, message } = isRead ? refuse('unverified', { why }) : refuse('malformed', { why });
  return { code, reason: message };
}
