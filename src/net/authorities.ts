import { existsSync, readFileSync } from 'node:fs';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import type { UpstreamConfig } from '../config/config.ts';

type Tls = UpstreamConfig['tls'];

/** Of those who sign a certificate and are not trusted, as TLS says it. */
const UNKNOWN_AUTHORITY: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** Where distributions keep their bundle. */
const USUAL_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
  '/var/lib/ca-certificates/ca-bundle.pem',
];

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** By whether the system's store counts. Hundreds of authorities take tens of milliseconds and some MB. */
const withoutOwn = new Map<boolean, SecureContext>();

export function isUnknownAuthority(code: string): boolean {
  return UNKNOWN_AUTHORITY.has(code);
}

/**
 * Whom a connection trusts: the public authorities, those of the system unless that is switched off,
 * and for hosts that are ours those of `ca`, beside them or alone.
 */
export function secureContextOf(tls: Tls, of: 'registry' | 'ours' | 'others'): SecureContext {
  const { ca, cert, key, only, system } = tls;
  const isOwnCertificate = of === 'registry' && cert !== undefined && key !== undefined;
  const identity = isOwnCertificate ? { cert, key } : {};
  if (of !== 'others' && ca !== undefined) {
    return createSecureContext({ ...identity, ca: only ? ca : [...authorities(system), ca] });
  }
  if (isOwnCertificate) return createSecureContext({ ...identity, ca: authorities(system) });
  const known = withoutOwn.get(system);
  if (known) return known;
  const context = createSecureContext({ ca: authorities(system) });
  withoutOwn.set(system, context);
  return context;
}

function authorities(system: boolean): string[] {
  return [...new Set([...getCACertificates('default'), ...(system ? systemAuthorities() : [])])];
}

/**
 * As OpenSSL finds them: `SSL_CERT_FILE` and `SSL_CERT_DIR`, else `/etc/ssl`; else the bundle of the
 * distribution.
 */
function systemAuthorities(): string[] {
  const found = getCACertificates('system');
  if (found.length > 0) return found;
  const bundle = USUAL_BUNDLES.find((path) => existsSync(path));
  return bundle === undefined ? [] : [...(readFileSync(bundle, 'latin1').match(BLOCK) ?? [])];
}
