import { X509Certificate } from 'node:crypto';
import type { TlsTexts } from '../config/pem.ts';

/** When the first certificate of each kind ends that an upstream's files hold; milliseconds since 1970. */
export function certificateEnds(tls: TlsTexts): ReadonlyMap<string, number> {
  const known = READ.get(tls);
  if (known) return known;
  const ends = [
    ['client', firstEnd(tls.cert)],
    ['authority', firstEnd(tls.ca)],
  ] as const;
  const found = new Map(ends.flatMap(([kind, end]) => (end === undefined ? [] : [[kind, end]])));
  READ.set(tls, found);
  return found;
}

/** Each scrape asks, and files seldom change: as long as they do not, their texts are one object. */
const READ = new WeakMap<TlsTexts, ReadonlyMap<string, number>>();

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The earliest end of the certificates in a PEM file, milliseconds since 1970; `undefined` where none can be read. */
function firstEnd(pem = ''): number | undefined {
  try {
    const ends = (pem.match(CERTIFICATE) ?? []).map((each) =>
      new X509Certificate(each).validToDate.getTime(),
    );
    return ends.length > 0 ? Math.min(...ends) : undefined;
  } catch {
    return undefined;
  }
}
