/** What people read of the gate. */
export const TEXTS = {
  absent: 'there is no such manifest to judge',
  unsigned: 'it has no signature',
  moreReasons: ({ reason, more }: { reason: string; more: number }) =>
    more === 0 ? reason : `${reason} (and ${more} more signatures that do not count)`,
  refused: ({ image, rule, reason }: { image: string; rule: string; reason: string }) =>
    `${image} may not be pulled here: ${rule} asks for a signature, and ${reason}; have it signed by one whom the rule names, or ask who runs this mirror`,
  heldUnsigned: ({ rule }: { rule: string }) =>
    `it may not be pulled: no signature that ${rule} asks for is held`,
  offline: 'none that counts is held here, and this site is offline',
  pullFirst: ({ image }: { image: string }) =>
    `no manifest that is held here and may be pulled lists this blob of ${image}; pull the manifest first`,
  unknown: ({ image, rule, reason }: { image: string; rule: string; reason: string }) =>
    `${image} cannot be judged by ${rule} now: ${reason}; ask again`,
  pending: ({ image }: { image: string }) =>
    `whether ${image} may be pulled is still being found out; ask again`,
} as const;
