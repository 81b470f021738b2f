import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { UpstreamConfig } from '../../config/config.ts';
import {
  endpointOf,
  formatEndpoint,
  openConnection,
  openTunnel,
  type Connection,
  type ConnectionOptions,
  type Endpoint,
} from '../../net/connection.ts';
import { proxyOf } from '../../config/proxy.ts';
import { failed, configKey, passed, type CheckResult, warning } from './check-result.ts';
import { TEXTS } from '../texts.ts';
import type { Duplex } from 'node:stream';
import { connect, type PeerCertificate, type SecureContext, type TLSSocket } from 'node:tls';
import { timeUntil, type Clock } from '../../time/clock.ts';
import { isUnknownAuthority } from '../../net/authorities.ts';
import { printable } from '../secrets.ts';

export interface ConnectionCheck {
  readonly result: CheckResult;
  readonly connection?: Connection;
}

/** Where the first connection goes: to the proxy when there is one. */
interface FirstHop {
  readonly url: URL;
  readonly endpoint: Endpoint;
  readonly address: string;
  /** How findings name an address there. */
  readonly name: (place: string) => string;
  /** The key of the configuration that leads there. */
  readonly key: string;
}

function firstHop(config: UpstreamConfig): FirstHop {
  const proxy = registryProxy(config);
  const url = new URL(proxy ?? config.url);
  const endpoint = endpointOf(url);
  const hop = { url, endpoint, address: formatEndpoint(endpoint) };
  if (proxy === undefined) return { ...hop, name: (place) => place, key: configKey(config, 'url') };
  const key = TEXTS.proxyKey({ key: configKey(config, 'proxy') });
  return { ...hop, name: (place) => TEXTS.proxied({ address: place }), key };
}

function registryProxy(config: UpstreamConfig): string | undefined {
  return proxyOf(config, new URL(config.url));
}

/** Whether the name to connect to has addresses, asked the way a connection asks. */
export async function checkName(config: UpstreamConfig): Promise<CheckResult> {
  const { endpoint, name, key } = firstHop(config);
  const { host } = endpoint;
  const subject = name(host);
  if (isIP(host) !== 0) return passed(TEXTS.isAddress({ subject }));
  try {
    const found = await lookup(host, { all: true });
    const addresses = [...new Set(found.map(({ address }) => address))];
    return passed(TEXTS.hasAddresses({ subject, addresses: addresses.join(', ') }));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? TEXTS.unknownCause;
    return failed(TEXTS.noAddress({ subject, code }), TEXTS.checkName({ key, host }));
  }
}

/** Whether the upstream, or the proxy in front of it, can be connected to. */
export async function checkConnection(
  config: UpstreamConfig,
  options: ConnectionOptions,
): Promise<ConnectionCheck> {
  const started = performance.now();
  const passedMs = (): number => Math.round(performance.now() - started);
  const hop = firstHop(config);
  let connection: Connection;
  try {
    connection = await openConnection(hop.url, options);
  } catch (error) {
    return { result: explain(error, hop, config) };
  }
  const isSecure = config.url.startsWith('https:');
  if (registryProxy(config) !== undefined) await connection[Symbol.asyncDispose]();
  if (registryProxy(config) !== undefined && isSecure)
    return checkTunnel(config, hop, options, passedMs);
  const result = passed(TEXTS.connected({ address: hop.name(hop.address), ms: passedMs() }));
  return registryProxy(config) === undefined ? { result, connection } : { result };
}

async function checkTunnel(
  config: UpstreamConfig,
  { url, address, key }: FirstHop,
  options: ConnectionOptions,
  passedMs: () => number,
): Promise<ConnectionCheck> {
  const endpoint = endpointOf(new URL(config.url));
  const target = formatEndpoint(endpoint);
  try {
    const connection = await openTunnel(url, endpoint, options);
    if ('status' in connection) {
      const { status } = connection;
      const remedy = status === 407 ? TEXTS.setProxyLogin : TEXTS.allowConnect({ target });
      return { result: failed(TEXTS.tunnelRefused({ address, target, status }), remedy) };
    }
    return { result: passed(TEXTS.proxyConnects({ address, target, ms: passedMs() })), connection };
  } catch (error) {
    const detail = TEXTS.noTunnel({ address, target, code: codeOf(error) });
    return { result: failed(detail, TEXTS.checkProxy({ key, target })) };
  }
}

function explain(
  error: unknown,
  { endpoint: { host, port }, address, name, key }: FirstHop,
  config: UpstreamConfig,
): CheckResult {
  const [code, subject] = [codeOf(error), name(address)];
  if (code === 'ECONNREFUSED') {
    return failed(TEXTS.connectionRefused({ subject, code }), TEXTS.checkPort({ key, port, host }));
  }
  const more = registryProxy(config) === undefined ? TEXTS.orSetProxy : '';
  return failed(TEXTS.noConnection({ subject, code }), TEXTS.openPort({ port, host, more }));
}

/** Short and without addresses of its own: `ECONNREFUSED`, `timeout`. */
function codeOf(error: unknown): string {
  const { code, name, cause } = error as NodeJS.ErrnoException;
  if (name === 'AbortError' || name === 'TimeoutError' || code === 'ABORT_ERR') return 'timeout';
  if (code === undefined && cause instanceof Error) return codeOf(cause);
  return code ?? name;
}

interface TlsCheckOptions {
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** Whom the transport trusts, and what it shows. */
  readonly secureContext: SecureContext;
}

const DAY_MS = 86_400_000;
const FEW_DAYS = 14;

/** The certificate, judged as the transport judges it, and how long it lasts. */
export async function checkTls(
  config: UpstreamConfig,
  socket: Duplex,
  options: TlsCheckOptions,
): Promise<CheckResult> {
  let secured: TLSSocket;
  try {
    secured = await shakeHands(config, socket, options);
  } catch (error) {
    return explainHandshake(error, config);
  }
  const certificate = secured.getPeerCertificate();
  // Its type says Error; it is the code of one.
  const code: unknown = secured.authorizationError;
  secured.destroy();
  const fault = secured.authorized ? undefined : explainFault(String(code), certificate, config);
  if (config.tls.insecure) return describeUnchecked(fault, config);
  return fault ?? describe(certificate, config, options.clock);
}

async function shakeHands(
  config: UpstreamConfig,
  socket: Duplex,
  { signal, secureContext }: TlsCheckOptions,
): Promise<TLSSocket> {
  const { host } = endpointOf(new URL(config.url));
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Accepted here whatever it is, so that the finding can describe the certificate.
  const secured = connect({
    socket,
    host,
    ...(isIP(host) === 0 && { servername: host }),
    secureContext,
    ALPNProtocols: ['http/1.1'],
    rejectUnauthorized: false,
  });
  secured.on('error', reject);
  secured.once('close', () => reject(Object.assign(new Error('closed'), { code: 'ECONNRESET' })));
  secured.once('secureConnect', resolve);
  const leave = (): void => void secured.destroy(signal.reason as Error);
  signal.addEventListener('abort', leave, { once: true });
  await promise.finally(() => signal.removeEventListener('abort', leave));
  return secured;
}

function describe(certificate: PeerCertificate, config: UpstreamConfig, clock: Clock): CheckResult {
  const days = Math.floor(timeUntil(Date.parse(certificate.valid_to), clock) / DAY_MS);
  const { ca, only, system } = config.tls;
  const trusted = only ? TEXTS.caAlone : TEXTS.authorities({ system, ca: ca !== undefined });
  const detail = TEXTS.certificate({ issuer: issuerOf(certificate), days, trusted });
  if (days >= FEW_DAYS) return passed(detail);
  const { host } = endpointOf(new URL(config.url));
  return warning(detail, TEXTS.renewBefore({ host, day: dayOf(certificate.valid_to) }));
}

function describeUnchecked(fault: CheckResult | undefined, config: UpstreamConfig): CheckResult {
  const key = configKey(config, 'tls.insecure');
  if (!fault) return warning(TEXTS.uncheckedValid, TEXTS.remove({ key }));
  const advice = TEXTS.thenRemove({ advice: fault.advice ?? '', key });
  return warning(TEXTS.uncheckedInvalid({ fault: fault.detail }), advice);
}

function explainFault(
  code: string,
  certificate: PeerCertificate,
  config: UpstreamConfig,
): CheckResult {
  const { host } = endpointOf(new URL(config.url));
  const issuer = issuerOf(certificate);
  if (code === 'CERT_HAS_EXPIRED') {
    return failed(
      TEXTS.expired({ host, day: dayOf(certificate.valid_to) }),
      TEXTS.renewCertificate,
    );
  }
  if (code === 'CERT_NOT_YET_VALID') {
    return failed(TEXTS.notYetValid({ host, day: dayOf(certificate.valid_from) }), TEXTS.setClock);
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const names = printable(certificate.subjectaltname ?? nameOf(certificate.subject));
    return failed(
      TEXTS.otherNames({ host, names }),
      TEXTS.useTheseNames({ key: configKey(config, 'url'), host }),
    );
  }
  if (isUnknownAuthority(code)) {
    return failed(
      TEXTS.unknownAuthority({ issuer, code }),
      TEXTS.setAuthority({ key: configKey(config, 'tls.ca') }),
    );
  }
  return failed(
    TEXTS.notAccepted({ host, issuer, code: printable(code) }),
    TEXTS.haveAccepted({ host }),
  );
}

function explainHandshake(error: unknown, config: UpstreamConfig): CheckResult {
  const address = formatEndpoint(endpointOf(new URL(config.url)));
  const { code = '', name } = error as NodeJS.ErrnoException;
  const word = printable(typeof code === 'string' && code !== '' ? code : name);
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH|UNKNOWN_PROTOCOL|HTTP_REQUEST/.test(word)) {
    return failed(
      TEXTS.noTlsSpoken({ address, code: word }),
      TEXTS.checkPortOrHttp({ key: configKey(config, 'url') }),
    );
  }
  if (/CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|BAD_CERTIFICATE/.test(word)) {
    return failed(
      TEXTS.handshakeRefused({ address, code: word }),
      TEXTS.setClientCertificate({ key: configKey(config, 'tls.cert') }),
    );
  }
  return failed(TEXTS.noTls({ address, code: word }), TEXTS.findTlsFirewall);
}

function issuerOf({ issuer }: PeerCertificate): string {
  return `"${nameOf(issuer)}"`;
}

/** Distinguished names may hold an attribute several times, and a peer may send no certificate. */
function nameOf(name: PeerCertificate['issuer'] | undefined): string {
  const found: unknown = [name?.O, name?.CN].flat().find((part) => part !== undefined);
  return printable(typeof found === 'string' ? found : 'unknown');
}

function dayOf(text: string): string {
  const time = Date.parse(text);
  return Number.isNaN(time) ? 'unknown' : new Date(time).toISOString().slice(0, 10);
}
