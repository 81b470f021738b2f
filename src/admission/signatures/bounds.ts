import type { Bundle } from '@sigstore/bundle';
import { refuse } from './refused.ts';
import { TEXTS } from './texts.ts';

type Content = Bundle['verificationMaterial']['content'];

const MAX_CERTIFICATES = 10;
const MAX_WITNESSES = 8;
const MAX_HASHES = 64;
/** The work on a name within a certificate or timestamp grows with the square of its length. */
const MAX_PIECE_BYTES = 2 ** 14;
const MAX_NOTE = 2 ** 14;
const MAX_DIGITS = 20;

/**
 * Throws `Refused` for a bundle that is more work than any that is meant well: at most 10 certificates and 8
 * timestamps of 16 KiB each, and 8 entries in logs, with numbers of 20 digits, a proof of 64 hashes and a note of
 * 16 KiB.
 */
export function checkBounds({ verificationMaterial }: Bundle): void {
  const { content, tlogEntries, timestampVerificationData } = verificationMaterial;
  const timestamps = timestampVerificationData?.rfc3161Timestamps ?? [];
  const certificates = certificatesOf(content);
  check('certificates', certificates.length, MAX_CERTIFICATES);
  for (const { length } of certificates) check('bytes in a certificate', length, MAX_PIECE_BYTES);
  check('timestamps', timestamps.length, MAX_WITNESSES);
  for (const { signedTimestamp } of timestamps) {
    check('bytes in a timestamp', signedTimestamp.length, MAX_PIECE_BYTES);
  }
  check('entries in logs', tlogEntries.length, MAX_WITNESSES);
  for (const { logIndex, integratedTime, inclusionProof } of tlogEntries) {
    const numbers = [logIndex, integratedTime, inclusionProof?.logIndex ?? ''];
    for (const { length } of numbers) check('digits in a number', length, MAX_DIGITS);
    check('hashes in a proof', inclusionProof?.hashes.length ?? 0, MAX_HASHES);
    check('letters in a note', inclusionProof?.checkpoint?.envelope.length ?? 0, MAX_NOTE);
  }
}

function certificatesOf(content: Content): readonly Buffer[] {
  switch (content.$case) {
    case 'publicKey':
      return [];
    case 'certificate':
      return [content.certificate.rawBytes];
    case 'x509CertificateChain':
      return content.x509CertificateChain.certificates.map(({ rawBytes }) => rawBytes);
  }
}

function check(what: string, count: number, most: number): void {
  if (count > most) throw refuse('malformed', { why: TEXTS.tooMany({ what, most }) });
}
