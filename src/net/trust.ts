import { createSecureContext, type SecureContext } from 'node:tls';
import type { UpstreamConfig } from '../config/config.ts';
import { HeldFiles, type HeldFilesParts } from '../config/held-files.ts';
import { readTlsFiles, type TlsTexts } from '../config/pem.ts';
import type { Authorities } from './authorities.ts';

type Tls = UpstreamConfig['tls'];

/** Whose a host is: the registry itself, one that its authorities count for, or any other. */
export type Whose = 'registry' | 'ours' | 'others';

export interface TrustParts {
  readonly tls: Tls;
  readonly authorities: Authorities;
  /** Told of the upstream's own files. */
  readonly told: Pick<HeldFilesParts<TlsTexts>, 'failed' | 'renewed'>;
}

/** Whom the connections for one upstream trust and what they show, by what the files say at one time. */
export class Contexts {
  readonly own: TlsTexts;
  readonly list: readonly string[];
  readonly #parts: TrustParts;
  readonly #made = new Map<Whose, SecureContext>();

  constructor(parts: TrustParts, own: TlsTexts, list: readonly string[]) {
    this.#parts = parts;
    this.own = own;
    this.list = list;
  }

  /**
   * The public authorities, those of the system unless that is switched off, and for hosts that are
   * ours those of `ca`, beside them or alone; the client certificate is the registry's.
   */
  of(whose: Whose): SecureContext {
    const { ca, cert, key } = this.own;
    const isShown = whose === 'registry' && cert !== undefined && key !== undefined;
    if (whose === 'others' || (ca === undefined && !isShown)) {
      return this.#parts.authorities.contextOf(this.list);
    }
    const known = this.#made.get(whose);
    if (known) return known;
    const { only } = this.#parts.tls;
    const context = createSecureContext({
      ...(isShown && { cert, key }),
      ca: only && ca !== undefined ? ca : [...this.list, ...(ca === undefined ? [] : [ca])],
    });
    this.#made.set(whose, context);
    return context;
  }
}

/** The certificates and authorities of one upstream, as their files are when a connection is wanted. */
export class Trust {
  readonly #parts: TrustParts;
  readonly #held: HeldFiles<TlsTexts> | undefined;
  #contexts: Contexts | undefined;

  constructor(parts: TrustParts) {
    this.#parts = parts;
    const { files, ca, cert, key } = parts.tls;
    const value = { ca, cert, key };
    if (!files) return;
    const read = (): TlsTexts => readTlsFiles(files);
    const paths = Object.values(files);
    this.#held = new HeldFiles({ ...parts.told, paths, value, read });
  }

  /** The same object as before while the files say the same. */
  get contexts(): Contexts {
    const own = this.#held?.current ?? this.#parts.tls;
    const list = this.#parts.authorities.withSystem(this.#parts.tls.system);
    if (own === this.#contexts?.own && list === this.#contexts.list) return this.#contexts;
    return (this.#contexts = new Contexts(this.#parts, own, list));
  }

  /** Reads the files whether they look changed or not: for a handshake that was refused. */
  again(): void {
    this.#held?.again();
    if (this.#parts.tls.system) this.#parts.authorities.again();
  }
}
