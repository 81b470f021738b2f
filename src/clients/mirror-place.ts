import { X509Certificate } from 'node:crypto';
import type { Config } from '../config/config.ts';
import { ConfigError } from '../config/problems.ts';
import { readAuthorities, readPemFile } from '../config/pem.ts';
import { isLoopback } from '../config/proxy.ts';
import { TEXTS } from './texts.ts';

/** What is asked for beside the configuration. */
export interface PlaceOptions {
  /** As `--address` names it. */
  readonly address?: URL | undefined;
  /** File of the authority that signed the mirror's certificate. */
  readonly ca?: string | undefined;
  /** Whether clients ask the upstream where the mirror fails. */
  readonly fallback: boolean;
  /** What relative paths start from. */
  readonly directory: string;
}

/** Where clients reach this mirror, and what stands behind it. */
export class MirrorPlace {
  /** Scheme, host and port; no path. */
  readonly url: string;
  /** Host, and the port where it is not that of the scheme: as references to images name it. */
  readonly host: string;
  readonly isHttp: boolean;
  readonly isLoopback: boolean;
  /** PEM; left out: the certificate is trusted anyway, or is not known here. */
  readonly ca: string | undefined;
  /** The names of the upstreams, as clients write them. */
  readonly registries: readonly string[];
  readonly defaultUpstream: string;
  /** Never where rules say who may pull what: the upstream would give what is refused here. */
  readonly fallback: boolean;
  /** It asks who pulls. */
  readonly hasAccess: boolean;
  /** It refuses what the upstream would give. */
  readonly isStrict: boolean;
  /** What could not be told from the configuration. */
  readonly notes: readonly string[];

  /** Throws a `ConfigError` where no address is known, or the authority cannot be read. */
  constructor(config: Config, { address, ca, fallback, directory }: PlaceOptions) {
    const url = address ?? addressOf(config);
    this.url = url.origin;
    this.host = url.host;
    this.isHttp = url.protocol === 'http:';
    this.isLoopback = isLoopback(url);
    this.ca = this.isHttp ? undefined : (readCa(ca, directory) ?? ownAuthority(config.listen));
    this.registries = Object.keys(config.upstreams);
    this.defaultUpstream = config.defaultUpstream;
    this.hasAccess = config.access !== undefined;
    this.isStrict = this.hasAccess || enforces(config);
    this.fallback = fallback && !this.isStrict;
    this.notes = [
      ...(this.hasAccess ? [TEXTS.mirrorOnly] : this.isStrict ? [TEXTS.mirrorOnlyHere] : []),
      ...(this.isLoopback ? [TEXTS.loopbackOnly({ url: this.url })] : []),
      ...(this.isHttp && ca !== undefined ? [TEXTS.caWithoutTls] : []),
      ...(this.isHttp || this.ca !== undefined ? [] : [TEXTS.caUnknown]),
    ];
  }
}

function addressOf({ listen }: Pick<Config, 'listen'>): URL {
  const { host, port, tls } = listen;
  const name = host.includes(':') ? `[${host}]` : host;
  const scheme = tls ? 'https' : 'http';
  if (host === '0.0.0.0' || host === '::' || port === 0) {
    const listened = `${name}:${port}`;
    const shown = `${scheme}://HOST:${port === 0 ? 'PORT' : port}`;
    throw new ConfigError([TEXTS.addressUnknown({ listen: listened, shown })]);
  }
  return new URL(`${scheme}://${name}:${port}`);
}

function readCa(path: string | undefined, directory: string): string | undefined {
  if (path === undefined) return undefined;
  const file = readAuthorities(path, directory);
  return file.contents.endsWith('\n') ? file.contents : `${file.contents}\n`;
}

/** The last certificate of the mirror's own file, where it signed itself: no other authority is named there. */
function ownAuthority({ tls }: Config['listen']): string | undefined {
  if (!tls) return undefined;
  const { contents } = readPemFile(tls.cert, '/');
  const last = contents.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)?.at(-1);
  if (last === undefined) return undefined;
  const certificate = new X509Certificate(last);
  return certificate.issuer === certificate.subject ? `${last}\n` : undefined;
}

function enforces({ admission }: Config): boolean {
  return admission?.rules.some(({ mode }) => mode === 'enforce') ?? false;
}
