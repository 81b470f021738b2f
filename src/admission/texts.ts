import type { ConditionName } from './verdict.ts';

interface Refused {
  readonly image: string;
  readonly rule: string;
  readonly asks: ConditionName;
  readonly reason: string;
  readonly remedy: keyof typeof REMEDIES;
}

const ASKED = {
  signedBy: 'asks for a signature',
  minAge: 'asks for an age',
  vulnerabilities: 'asks for few vulnerabilities',
} as const;
const REMEDIES = {
  signedBy:
    'have it signed in this repository by one whom the rule names, which counts within 30 s',
  minAge: 'wait until it is old enough',
  vulnerabilities: 'pull one that is mended',
  /** Nobody knows what is wrong with it. */
  report: 'ask again when there is a report of it',
  /** Nobody is asked for what is not here. */
  brought: 'have its signature brought by sync while there is a link, or by a bundle',
} as const;

/** What people read of the gate. */
export const TEXTS = {
  absent: 'there is no such manifest to judge',
  noStores: 'it was signed with Notation, and no trust stores are configured',
  unsigned: 'it has no signature',
  notHeld: 'nothing of it is held',
  noSuchTag: 'the upstream has no such tag',
  young: ({ since, until }: { since: string; until: string }) =>
    `it has been known since ${since} and passes at ${until}`,
  lastAdmitted: ({ tag }: { tag: string }) =>
    `it was last admitted by the tag ${tag}, which has moved to one that is too young`,
  awaited: ({ tag }: { tag: string }) => `the tag ${tag} has moved to it, and it is too young`,
  noFix: 'no version mends it',
  excepted: ({ owner, reason, until }: { owner: string; reason: string; until: string }) =>
    `${owner} answers for it until ${until}: ${reason}`,
  stated: ({ from, status }: { from: string; status: string }) =>
    `VEX${from === '' ? '' : ` of ${from}`}: ${status}`,
  unscanned: 'nothing that is kept says which vulnerabilities it has',
  noScanAttested: 'no scan that counts is attached to it, and no scanner is configured',
  unscannable: ({ reason }: { reason: string }) => `it cannot be scanned: ${reason}`,
  scannerFails: ({ reason }: { reason: string }) =>
    `which ones it has is not known, since the scanner gives no report: ${reason}`,
  moreReasons: ({ reason, more }: { reason: string; more: number }) =>
    more === 0 ? reason : `${reason} (and ${more} more signatures that do not count)`,
  refused: ({ image, rule, asks, reason, remedy }: Refused) =>
    `${image} may not be pulled here: ${rule} ${ASKED[asks]}, and ${reason}; ${REMEDIES[remedy]}, or ask who runs this mirror`,
  heldRefused: ({ rule, reason }: { rule: string; reason: string }) =>
    `it may not be pulled: ${rule} is not met by what is held: ${reason}`,
  mayNotLeave: ({ rule, reason }: { rule: string; reason: string }) =>
    `it may not be pulled: ${rule} is not met: ${reason}`,
  offline: 'none that counts is held here, and this site is offline',
  pullFirst: ({ image }: { image: string }) =>
    `no manifest that is held here and may be pulled lists this blob of ${image}; pull the manifest first`,
  unknown: ({ image, rule, reason }: { image: string; rule: string; reason: string }) =>
    `${image} cannot be judged by ${rule} now: ${reason}; ask again`,
  pending: ({ image }: { image: string }) =>
    `whether ${image} may be pulled is still being found out; ask again`,
} as const;
