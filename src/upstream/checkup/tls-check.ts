import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect, type PeerCertificate, type TLSSocket } from 'node:tls';
import { timeUntil, type Clock } from '../../time/clock.ts';
import type { UpstreamConfig } from '../../config/config.ts';
import { endpointOf, formatEndpoint } from '../../net/connection.ts';
import { printable } from '../registry-answer.ts';
import { failed, keyOf, ok, warning, type Outcome } from './finding.ts';

export interface TlsOptions {
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

const DAY_MS = 86_400_000;
const FEW_DAYS = 14;
const UNKNOWN_AUTHORITY: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** The certificate, judged as the transport judges it, and how long it lasts. */
export async function checkTls(
  config: UpstreamConfig,
  socket: Duplex,
  { signal, clock }: TlsOptions,
): Promise<Outcome> {
  let secured: TLSSocket;
  try {
    secured = await shakeHands(config, socket, signal);
  } catch (error) {
    return explainHandshake(error, config);
  }
  const certificate = secured.getPeerCertificate();
  // Declared as an error, it is the code of one.
  const code: unknown = secured.authorizationError;
  secured.destroy();
  const fault = secured.authorized ? undefined : explainFault(String(code), certificate, config);
  if (config.tls.insecure) return describeUnchecked(fault, config);
  return fault ?? describe(certificate, config, clock);
}

async function shakeHands(
  config: UpstreamConfig,
  socket: Duplex,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const { host } = endpointOf(new URL(config.url));
  const { ca, cert, key } = config.tls;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Not refused here, so that the certificate can be told of.
  const secured = connect({
    socket,
    host,
    ...(isIP(host) === 0 && { servername: host }),
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
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

function describe(certificate: PeerCertificate, config: UpstreamConfig, clock: Clock): Outcome {
  const days = Math.floor(timeUntil(Date.parse(certificate.valid_to), clock) / DAY_MS);
  const detail = `certificate of ${issuerOf(certificate)}, ${days} days left`;
  if (days >= FEW_DAYS) return ok(detail);
  const { host } = endpointOf(new URL(config.url));
  return warning(detail, `renew the certificate of ${host} before ${dayOf(certificate.valid_to)}`);
}

function describeUnchecked(fault: Outcome | undefined, config: UpstreamConfig): Outcome {
  const key = keyOf(config, 'tls.insecure');
  if (!fault) return warning('not checked, although valid', `remove ${key}`);
  const advice = `${fault.advice ?? ''}, then remove ${key}`;
  return warning(`not checked, and not valid: ${fault.detail}`, advice);
}

function explainFault(code: string, certificate: PeerCertificate, config: UpstreamConfig): Outcome {
  const { host } = endpointOf(new URL(config.url));
  const issuer = issuerOf(certificate);
  if (code === 'CERT_HAS_EXPIRED') {
    return failed(
      `the certificate of ${host}, or one above it, has expired (its own end: ${dayOf(certificate.valid_to)})`,
      `renew it; if it was renewed, set the clock of this machine (NTP)`,
    );
  }
  if (code === 'CERT_NOT_YET_VALID') {
    return failed(
      `the certificate of ${host} is valid from ${dayOf(certificate.valid_from)}`,
      'set the clock of this machine (NTP)',
    );
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const names = printable(certificate.subjectaltname ?? nameOf(certificate.subject));
    return failed(
      `the certificate is not for ${host} but for ${names}`,
      `use one of these names in ${keyOf(config, 'url')}, or have a certificate issued for ${host}`,
    );
  }
  if (UNKNOWN_AUTHORITY.has(code)) {
    return failed(
      `unknown authority ${issuer} (${code})`,
      `set ${keyOf(config, 'tls.ca')} to the PEM file of your authority, or of the firewall that opens TLS on the way`,
    );
  }
  return failed(
    `the certificate of ${host} by ${issuer} is not accepted (${printable(code)})`,
    `have a certificate issued for ${host} that curl accepts`,
  );
}

function explainHandshake(error: unknown, config: UpstreamConfig): Outcome {
  const address = formatEndpoint(endpointOf(new URL(config.url)));
  const { code = '', name } = error as NodeJS.ErrnoException;
  const word = printable(typeof code === 'string' && code !== '' ? code : name);
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH|UNKNOWN_PROTOCOL|HTTP_REQUEST/.test(word)) {
    return failed(
      `${address} does not speak TLS (${word})`,
      `check the port; if it is an http registry, write ${keyOf(config, 'url')} with http://`,
    );
  }
  if (/CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|BAD_CERTIFICATE/.test(word)) {
    return failed(
      `${address} refused the TLS handshake (${word})`,
      `if it asks for a client certificate, set ${keyOf(config, 'tls.cert')} and tls.key`,
    );
  }
  return failed(
    `no TLS with ${address} (${word})`,
    'look for a firewall or proxy on the way that cuts TLS, and allow this host there',
  );
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
