import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect, type PeerCertificate, type SecureContext, type TLSSocket } from 'node:tls';
import { timeUntil, type Clock } from '../../time/clock.ts';
import type { UpstreamConfig } from '../../config/config.ts';
import { endpointOf, formatEndpoint } from '../../net/connection.ts';
import { isUnknownAuthority } from '../../net/authorities.ts';
import { printable } from '../secrets.ts';
import { failed, keyOf, ok, warning, type Outcome } from './finding.ts';
import { TEXTS } from '../texts.ts';

export interface TlsOptions {
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
  options: TlsOptions,
): Promise<Outcome> {
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
  { signal, secureContext }: TlsOptions,
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

function describe(certificate: PeerCertificate, config: UpstreamConfig, clock: Clock): Outcome {
  const days = Math.floor(timeUntil(Date.parse(certificate.valid_to), clock) / DAY_MS);
  const { ca, only, system } = config.tls;
  const trusted = only ? TEXTS.caAlone : TEXTS.authorities({ system, ca: ca !== undefined });
  const detail = TEXTS.certificate({ issuer: issuerOf(certificate), days, trusted });
  if (days >= FEW_DAYS) return ok(detail);
  const { host } = endpointOf(new URL(config.url));
  return warning(detail, TEXTS.renewBefore({ host, day: dayOf(certificate.valid_to) }));
}

function describeUnchecked(fault: Outcome | undefined, config: UpstreamConfig): Outcome {
  const key = keyOf(config, 'tls.insecure');
  if (!fault) return warning(TEXTS.uncheckedValid, TEXTS.remove({ key }));
  const advice = TEXTS.thenRemove({ advice: fault.advice ?? '', key });
  return warning(TEXTS.uncheckedInvalid({ fault: fault.detail }), advice);
}

function explainFault(code: string, certificate: PeerCertificate, config: UpstreamConfig): Outcome {
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
      TEXTS.useTheseNames({ key: keyOf(config, 'url'), host }),
    );
  }
  if (isUnknownAuthority(code)) {
    return failed(
      TEXTS.unknownAuthority({ issuer, code }),
      TEXTS.setAuthority({ key: keyOf(config, 'tls.ca') }),
    );
  }
  return failed(
    TEXTS.notAccepted({ host, issuer, code: printable(code) }),
    TEXTS.haveAccepted({ host }),
  );
}

function explainHandshake(error: unknown, config: UpstreamConfig): Outcome {
  const address = formatEndpoint(endpointOf(new URL(config.url)));
  const { code = '', name } = error as NodeJS.ErrnoException;
  const word = printable(typeof code === 'string' && code !== '' ? code : name);
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH|UNKNOWN_PROTOCOL|HTTP_REQUEST/.test(word)) {
    return failed(
      TEXTS.noTlsSpoken({ address, code: word }),
      TEXTS.checkPortOrHttp({ key: keyOf(config, 'url') }),
    );
  }
  if (/CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|BAD_CERTIFICATE/.test(word)) {
    return failed(
      TEXTS.handshakeRefused({ address, code: word }),
      TEXTS.setClientCertificate({ key: keyOf(config, 'tls.cert') }),
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
