import { X509Certificate } from 'node:crypto';
import type { TlsTexts } from '../config/pem.ts';
import type { Metrics } from '../observe/metrics.ts';

/** Tells when the certificates end that an upstream's files hold. */
export function showCertificateEnds(
  { upstream, tls }: { readonly upstream: string; readonly tls: TlsTexts },
  metrics: Metrics,
): void {
  for (const [kind, pem] of [
    ['client', tls.cert],
    ['authority', tls.ca],
  ] as const) {
    const labels = { upstream, kind };
    const end = pem === undefined ? undefined : firstEnd(pem);
    if (end === undefined) metrics.certificateExpiry.remove(labels);
    else metrics.certificateExpiry.set(labels, end / 1000);
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The earliest end of the certificates in a PEM file, milliseconds since 1970; `undefined` where none can be read. */
function firstEnd(pem: string): number | undefined {
  try {
    const ends = (pem.match(CERTIFICATE) ?? []).map((each) =>
      new X509Certificate(each).validToDate.getTime(),
    );
    return ends.length > 0 ? Math.min(...ends) : undefined;
  } catch {
    return undefined;
  }
}
