/** What operators read of bundles: why one is refused, and what to do. */
export const TEXTS = {
  // Keys.
  keyIsPublic:
    'this is a public key: name the private one, which "entrepot bundle keygen" wrote beside it',
  keyIsPrivate: 'this is a private key: name the public one, which ends in .pub',
  keyNotPem: ({ label }: { label: string }) =>
    `this is no key in PEM ("-----BEGIN ${label}-----"): make one with "entrepot bundle keygen"`,
  keyEncrypted:
    'this key has a passphrase: write it without one with "openssl pkcs8 -topk8 -nocrypt"',
  keyOldForm:
    'this key is not in PKCS#8: write it in that form with "openssl pkcs8 -topk8 -nocrypt"',
  keyDamaged: ({ reason }: { reason: string }) =>
    `this key cannot be read (${reason}): take another copy of it`,
  keyKind: ({ kind }: { kind: string }) =>
    `this is a key of kind ${kind}: make one of Ed25519 or P-256 with "entrepot bundle keygen"`,

  // What is signed.
  envelopeForm: ({ what }: { what: string }) =>
    `its ${what} is no signed envelope: this is no bundle of entrepot, or it is damaged; copy it again`,
  envelopeType: ({ what, type }: { what: string; type: string }) =>
    `its ${what} is of another kind (${type}): read it with a newer version of entrepot`,
  envelopeKey: ({ what, id }: { what: string; id: string }) =>
    `its ${what} is not signed by a key that is trusted here (it names ${id}), or was changed after: see who made it, and have a copy by another way`,
  // Drafts.
  tooManyDrafts: ({ most }: { most: number }) =>
    `${most} bundles are being made already: wait for the end of one of them`,

  // Inventories.
  inventoryForm:
    'this is no inventory of entrepot, or it is damaged: make one at the site with "entrepot inventory", and copy it again',
  inventorySignature:
    'this inventory was damaged or changed on its way: copy it again from the site',
  inventoryFormat: ({ format }: { format: string }) =>
    `this inventory is of another version (${format}): read it with a newer version of entrepot`,
  inventorySize: ({ most }: { most: number }) =>
    `this inventory is larger than ${most} bytes: make bundles without one`,
  inventoryCount: ({ most }: { most: number }) =>
    `this inventory has more than ${most} manifests, blobs or images, or too many series: make bundles without one`,
} as const;
