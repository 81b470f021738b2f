import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { env, platform } from 'node:process';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { HeldFiles, type HeldFilesParts } from '../config/held-files.ts';
import { TEXTS } from './texts.ts';
import type { UpstreamConfig } from '../config/config.ts';
import { readTlsFiles, type TlsTexts } from '../config/pem.ts';

/** Of those who sign a certificate and are not trusted, as TLS says it. */
const UNKNOWN_AUTHORITY: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** Where OpenSSL looks, unless `SSL_CERT_FILE` and `SSL_CERT_DIR` say another place. */
const DEFAULT_FILE = '/etc/ssl/cert.pem';
const DEFAULT_FOLDER = '/etc/ssl/certs';

/** Where distributions keep their bundle, for where nothing is there. */
const USUAL_BUNDLES = [
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/ca-bundle.pem',
  '/var/lib/ca-certificates/ca-bundle.pem',
];

/** Of one file; all authorities of all systems together are a quarter of a MiB. */
const MAX_BYTES = 8 * 1024 * 1024;

const BEGIN = '-----BEGIN CERTIFICATE-----';
const BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** These keep the system's authorities where only Node finds them, and only once. */
const HAS_NO_FILES: ReadonlySet<string> = new Set(['darwin', 'win32']);

export function isUnknownAuthority(code: string): boolean {
  return UNKNOWN_AUTHORITY.has(code);
}

/**
 * The authorities that count for all upstreams: the public ones, which come with Node, and those of
 * the system's store as it is now. A look at the store is a `stat` of its file, its folder and each
 * usual bundle: a file of the folder that is written over in place is seen when a handshake is refused.
 */
export class Authorities {
  #public: readonly string[] | undefined;
  readonly #system: HeldFiles<readonly string[]>;
  #all: { readonly system: readonly string[]; readonly list: readonly string[] } | undefined;
  /** Hundreds of authorities take tens of milliseconds and some MB. */
  readonly #contexts = new WeakMap<readonly string[], SecureContext>();

  constructor(told: Pick<HeldFilesParts<unknown>, 'failed' | 'renewed'>) {
    const { SSL_CERT_FILE: named, SSL_CERT_DIR: folder = DEFAULT_FOLDER } = env;
    const file = named ?? DEFAULT_FILE;
    const places = { file, isNamed: named !== undefined, folder };
    let isFirst = true;
    this.#system = new HeldFiles<readonly string[]>({
      ...told,
      paths: [],
      places: [file, folder, ...USUAL_BUNDLES],
      read: () => {
        const { found, fault } = readSystem(places);
        if (fault !== undefined && !isFirst) throw new Error(fault);
        isFirst = false;
        return found;
      },
    });
  }

  /** As PEM; the same object as before while the store says the same. */
  withSystem(system: boolean): readonly string[] {
    // Read when somebody is to be trusted: as Node holds them they take megabytes.
    this.#public ??= getCACertificates('default');
    if (!system) return this.#public;
    const now = this.#system.current;
    if (now !== this.#all?.system) {
      this.#all = { system: now, list: [...new Set([...this.#public, ...now])] };
    }
    return this.#all.list;
  }

  /** One for all who trust nobody besides. */
  contextOf(list: readonly string[]): SecureContext {
    const known = this.#contexts.get(list);
    if (known) return known;
    const context = createSecureContext({ ca: [...list] });
    this.#contexts.set(list, context);
    return context;
  }

  /** Reads the store whether it looks changed or not. */
  again(): void {
    this.#system.again();
  }
}

interface Places {
  readonly file: string;
  readonly isNamed: boolean;
  readonly folder: string;
}

/** What is there, and why that is not all of it: what an update leaves for a moment. */
function readSystem({ file, isNamed, folder }: Places): {
  found: readonly string[];
  fault?: string;
} {
  if (HAS_NO_FILES.has(platform)) return { found: getCACertificates('system') };
  const first = [file, ...filesIn(folder)].map(readBlocks);
  const all = first.some(({ blocks }) => blocks.length > 0) ? first : USUAL_BUNDLES.map(readBlocks);
  const found = [...new Set(all.flatMap(({ blocks }) => blocks))];
  const cut = all.find(({ isCut }) => isCut);
  if (cut) return { found, fault: TEXTS.cutCertificates({ path: cut.path }) };
  const isMissing = found.length === 0 || (isNamed && first[0]?.blocks.length === 0);
  return isMissing ? { found, fault: TEXTS.noCertificates({ path: file }) } : { found };
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder).map((name) => join(folder, name));
  } catch {
    return [];
  }
}

/** The certificates of a plain file; of anything else none. */
function readBlocks(path: string): { path: string; blocks: string[]; isCut: boolean } {
  let text = '';
  try {
    const file = statSync(path);
    if (file.isFile() && file.size <= MAX_BYTES) text = readFileSync(path, 'latin1');
  } catch {
    // Who may not read it, or finds it gone, has none of it.
  }
  const blocks = text.match(BLOCK) ?? [];
  return { path, blocks, isCut: text.split(BEGIN).length - 1 > blocks.length };
}

type Tls = UpstreamConfig['tls'];

/** Whose a host is: the registry itself, one that its authorities count for, or any other. */
type HostTrust = 'registry' | 'ours' | 'others';

export interface TrustParts {
  readonly tls: Tls;
  readonly authorities: Authorities;
  /** Told of the upstream's own files. */
  readonly told: Pick<HeldFilesParts<TlsTexts>, 'failed' | 'renewed'>;
}

/** Whom the connections for one upstream trust and what they show, by what the files say at one time. */
export class SecureContexts {
  readonly own: TlsTexts;
  readonly list: readonly string[];
  readonly #parts: TrustParts;
  readonly #made = new Map<HostTrust, SecureContext>();

  constructor(parts: TrustParts, own: TlsTexts, list: readonly string[]) {
    this.#parts = parts;
    this.own = own;
    this.list = list;
  }

  /**
   * The public authorities, those of the system unless that is switched off, and for hosts that are
   * ours those of `ca`, beside them or alone; the client certificate is the registry's.
   */
  of(whose: HostTrust): SecureContext {
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
  #contexts: SecureContexts | undefined;

  constructor(parts: TrustParts) {
    this.#parts = parts;
    const { files, ca, cert, key } = parts.tls;
    const value = { ca, cert, key };
    if (!files) return;
    const read = (): TlsTexts => readTlsFiles(files);
    const paths = Object.values(files);
    this.#held = new HeldFiles({ ...parts.told, paths, value, read });
  }

  /** What the upstream's own files say; the same object as before while they say the same. */
  get own(): TlsTexts {
    return this.#held?.current ?? this.#parts.tls;
  }

  /** The same object as before while the files say the same. */
  get contexts(): SecureContexts {
    const { own } = this;
    const list = this.#parts.authorities.withSystem(this.#parts.tls.system);
    if (own === this.#contexts?.own && list === this.#contexts.list) return this.#contexts;
    return (this.#contexts = new SecureContexts(this.#parts, own, list));
  }

  /** Reads the files whether they look changed or not: for a handshake that was refused. */
  again(): void {
    this.#held?.again();
    if (this.#parts.tls.system) this.#parts.authorities.again();
  }
}
