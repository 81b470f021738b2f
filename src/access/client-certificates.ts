import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { ClientAuthorities } from '../config/pem.ts';
import type { Log } from '../observe/log.ts';
import type { Clock } from '../time/clock.ts';
import {
  CertificateError,
  readShownCertificate,
  type ShownCertificate,
} from './shown-certificate.ts';
import { TEXTS } from './texts.ts';

export interface ClientCertificatesParts {
  /** As their file has them now. */
  readonly authorities: () => Pick<ClientAuthorities, 'fingerprints'>;
  readonly clock: Pick<Clock, 'wall'>;
  readonly log: Pick<Log, 'info'>;
}

/** What is known of the other end of a connection. */
interface Seen {
  readonly certificate?: ShownCertificate | undefined;
  /** Why it does not count, as the log has been told. */
  told?: string;
}

/**
 * The certificates that clients show. One is read once for each connection; that it has not ended, and that its
 * authority still counts, is looked at with each request. One that does not count is as none, and the log
 * says why, once for each connection.
 */
export class ClientCertificates {
  readonly #parts: ClientCertificatesParts;
  readonly #seen = new WeakMap<TLSSocket, Seen>();

  constructor(parts: ClientCertificatesParts) {
    this.#parts = parts;
  }

  /** `undefined` where none was shown, or it does not count. */
  find(connection: Socket | undefined): ShownCertificate | undefined {
    if (!(connection instanceof TLSSocket)) return undefined;
    const seen = this.#seen.get(connection) ?? this.#read(connection);
    const { certificate } = seen;
    if (!certificate) return undefined;
    const reason = this.#faultOf(certificate);
    if (reason === undefined) return certificate;
    if (seen.told !== reason) this.#tell(connection, reason);
    seen.told = reason;
    return undefined;
  }

  /** Whether what was given out for a certificate still stands. */
  counts(certificate: Pick<ShownCertificate, 'endsAt' | 'authorities'>): boolean {
    return this.#faultOf(certificate) === undefined;
  }

  #read(connection: TLSSocket): Seen {
    let seen: Seen = {};
    try {
      seen = { certificate: readShownCertificate(connection) };
    } catch (error) {
      if (!(error instanceof CertificateError)) throw error;
      this.#tell(connection, error.message);
    }
    this.#seen.set(connection, seen);
    return seen;
  }

  #faultOf({
    endsAt,
    authorities,
  }: Pick<ShownCertificate, 'endsAt' | 'authorities'>): string | undefined {
    if (this.#parts.clock.wall() >= endsAt) return TEXTS.certificateEnded;
    const { fingerprints } = this.#parts.authorities();
    const counts = authorities.some((each) => fingerprints.includes(each));
    return counts ? undefined : TEXTS.authorityGone;
  }

  #tell({ remoteAddress }: TLSSocket, reason: string): void {
    this.#parts.log.info(
      { peer: remoteAddress, reason },
      'the certificate of a client does not count',
    );
  }
}
