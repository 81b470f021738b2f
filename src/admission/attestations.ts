import type { Attachments, Reach } from '../mirror/mirror.ts';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import { Evidence } from './evidence.ts';
import type { Trust } from './trust.ts';
import type { Signer, Verified } from './verdict.ts';

export interface AttestationsParts {
  readonly attachments: () => Attachments;
  readonly trust: Trust;
  /** Whose statements count. */
  readonly signers: readonly Signer[];
  readonly clock: Clock;
}

/** What somebody who counts states of an image. */
export interface Attested {
  /** The manifest of the image, or of an index that lists it. */
  readonly subject: Digest;
  /** The manifest that carries the statement. */
  readonly carrier: Digest;
  readonly statement: NonNullable<Verified['statement']>;
}

interface Asked {
  readonly target: Target;
  readonly subject: Digest;
  readonly reach: Reach;
}

/** What is attested after it was looked for counts by then. */
const REMEMBERED_MS = 30_000;
const MEMORY = { max: 1_000, maxBytes: 64 * 2 ** 20 };
/** The image, and indexes that list it. */
const MAX_SUBJECTS = 4;
const MAKERS = new Set(['sigstore'] as const);

/**
 * The attestations of an image, and of indexes that list it, that are signed by one of those whom a rule
 * names. They are remembered for 30 s; what cannot be had, or does not count, is as what is not there.
 */
export class Attestations {
  readonly #parts: AttestationsParts;
  readonly #known: ExpiringMap<string, readonly Attested[]>;

  constructor(parts: AttestationsParts) {
    this.#parts = parts;
    this.#known = new ExpiringMap({ ...MEMORY, clock: parts.clock });
  }

  async of(target: Target, lineage: readonly Digest[], reach: Reach): Promise<readonly Attested[]> {
    if (this.#parts.signers.length === 0) return [];
    const subjects = lineage.slice(0, MAX_SUBJECTS);
    const found = subjects.map(async (subject) => this.#about({ target, subject, reach }));
    return (await Promise.all(found)).flat();
  }

  async #about(asked: Asked): Promise<readonly Attested[]> {
    const { target, subject, reach } = asked;
    const trusted = await this.#parts.trust.current();
    const key = [trusted.digest, reach, formatTarget(target), subject].join(' ');
    const known = this.#known.get(key);
    if (known) return known;
    const attachments = this.#parts.attachments();
    const manifest = await attachments.manifest(target, subject, reach);
    if (!manifest) return [];
    const { signers } = this.#parts;
    const image = { digest: subject, manifest };
    const wanted = { image, kind: 'attestation', signers } as const;
    const evidence = new Evidence({ ...asked, attachments, makers: MAKERS, missed: () => {} });
    const found: Attested[] = [];
    let bytes = 0;
    for await (const { manifest: carrier, signature } of evidence.attestations()) {
      if ('notation' in signature) continue;
      const isBundle = 'bundle' in signature;
      const verified = isBundle
        ? trusted.sigstore.verifyBundle(signature.bundle, wanted)
        : trusted.sigstore.verifyClassic(signature.layer, wanted);
      bytes += isBundle ? signature.bundle.length : signature.layer.payload.length;
      if ('signer' in verified && verified.statement) {
        found.push({ subject, carrier, statement: verified.statement });
      }
    }
    this.#known.set(key, found, REMEMBERED_MS, bytes + key.length);
    return found;
  }
}
