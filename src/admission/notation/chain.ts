import type { Certificate } from './certificate.ts';
import { refuse } from './refuse.ts';
import { TEXTS } from './texts.ts';

/** What a chain is for. */
export type Purpose = 'code' | 'timestamps';

const DIGITAL_SIGNATURE = 0;
/** Besides signatures a key may only bind who signed. */
const NON_REPUDIATION = 1;
const CERT_SIGN = 5;
const TIME_STAMPING = '1.3.6.1.5.5.7.3.8';
/** Any, servers, clients, mail, timestamps, answers about revocation. */
const NOT_FOR_CODE = new Set([
  '2.5.29.37.0',
  '1.3.6.1.5.5.7.3.1',
  '1.3.6.1.5.5.7.3.2',
  '1.3.6.1.5.5.7.3.4',
  TIME_STAMPING,
  '1.3.6.1.5.5.7.3.9',
]);

/**
 * Throws `Refused` unless each certificate is issued by the next one and the last one by itself, the first one
 * may do what it is for, and the others may issue. Whether anybody trusts one of them is not asked here.
 * @see https://github.com/notaryproject/specifications/blob/main/specs/signature-specification.md#certificate-requirements
 */
export function checkChain(
  chain: readonly [Certificate, ...Certificate[]],
  purpose: Purpose,
): void {
  for (const [at, certificate] of chain.entries()) {
    const issuer = chain[at + 1];
    const { name } = certificate;
    const isRoot = certificate.isIssuedBy(certificate);
    if (issuer && isRoot) throw refuse('chain', { why: TEXTS.rootWithin({ name }) });
    if (!issuer && !isRoot) throw refuse('chain', { why: TEXTS.endsOpen({ name }) });
    if (issuer && !certificate.isIssuedBy(issuer)) {
      throw refuse('chain', { why: TEXTS.notIssued({ name, by: issuer.name }) });
    }
    const why =
      certificate.weakness ??
      (at === 0 ? faultOfLeaf(certificate, purpose) : faultOfAuthority(certificate, at - 1));
    if (why !== undefined) throw refuse('certificate', { name, why });
  }
}

function faultOfAuthority({ authority, keyUsage }: Certificate, below: number): string | undefined {
  if (!authority) return TEXTS.notAuthority;
  if (authority.below < below) return TEXTS.tooDeep;
  if (!keyUsage) return TEXTS.notCriticalUsage;
  return keyUsage.includes(CERT_SIGN) ? undefined : TEXTS.noCertSign;
}

function faultOfLeaf(leaf: Certificate, purpose: Purpose): string | undefined {
  const { claimsAuthority, keyUsage, extendedUsage } = leaf;
  if (claimsAuthority) return TEXTS.isAuthority;
  if (!keyUsage) return TEXTS.notCriticalUsage;
  const isForMore = keyUsage.some((bit) => bit !== DIGITAL_SIGNATURE && bit !== NON_REPUDIATION);
  if (isForMore || !keyUsage.includes(DIGITAL_SIGNATURE)) return TEXTS.notForSigning;
  const { isCritical, uses } = extendedUsage;
  if (purpose === 'code') {
    return uses.some((use) => NOT_FOR_CODE.has(use)) ? TEXTS.otherUsage : undefined;
  }
  const isClock = isCritical && uses.length === 1 && uses[0] === TIME_STAMPING;
  return isClock ? undefined : TEXTS.notAClock;
}
