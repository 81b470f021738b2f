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

  // What a site takes in.
  noTrust:
    'this site trusts no key: name the public key of whoever makes its bundles in bundles.trust',
  mayBringNo: ({ key, what }: { key: string; what: string }) =>
    `the key ${key} may not bring ${what}: say so in bundles.trust, or have them brought by another key`,
  older: ({ number, last }: { number: number; last: number }) =>
    `this bundle has number ${number}, and number ${last} of its series is in force: import a newer one, or this one with --allow-older`,
  parityAlone: 'a parity part brings nothing by itself: import it together with the other parts',
  unknownRegistries: ({ names }: { names: string }) =>
    `this site does not serve what the bundle brings from ${names}: add it to upstreams, and reload the configuration`,
  needsMissing: ({ count, digests }: { count: number; digests: string }) =>
    `this site lacks ${count} blobs that the bundle builds on (${digests}): have another one made for the inventory of today`,
  noRoomFor: ({ bytes, reason }: { bytes: number; reason: string }) =>
    `there is no room for ${bytes} bytes of this bundle (${reason}): free some, or raise store.maxBytes`,
  piecesWrong: ({ digest, parts }: { digest: string; parts: string }) =>
    `${digest} is not what its pieces come to: import parts ${parts} again`,
  carriedLost: ({ digest, number }: { digest: string; number: number }) =>
    `${digest} is gone again: import all parts of bundle ${number} once more`,
  noManifest: ({ digest, reason }: { digest: string; reason: string }) =>
    `${digest} is no manifest that can be kept (${reason}): have the bundle made again, without that image`,
  manifestBytes: ({ digest, most }: { digest: string; most: number }) =>
    `the manifest ${digest} has more than ${most} bytes, as no registry takes it: have the bundle made again, without that image`,
  tooDeep: ({ most }: { most: number }) =>
    `its indexes list indexes more than ${most} deep: have the bundle made again, without that image`,
  diskRefuses: ({ reason }: { reason: string }) =>
    `the disk does not take it (${reason}): see "entrepot status", then import it again`,
  cannotKeep:
    'this store cannot be written: nothing can be imported until a start finds it writable',
  kept: 'what is held is pinned, in use, or not enough to make room',
  stopping: 'the server is stopping',
  noFolder: ({ path }: { path: string }) => `${path} is no folder: move what stands there away`,
  fileLost: ({ digest }: { digest: string }) =>
    `the file ${digest} is gone again: import the bundle once more`,
  tooManyImports: ({ most }: { most: number }) =>
    `${most} parts wait to be imported already: import one after the other`,
  tooSlow:
    'other parts wait, and this one comes too slowly: copy it to a disk of this machine first, and import it from there',

  // Drafts.
  noImages: 'name an image at least, or none for all that the rules of sync select',
  noSelection:
    'this site has no rules of sync: name the images that the bundle is to have, or write rules under "sync"',
  gone: ({ digest }: { digest: string }) =>
    `${digest} was here and is not any more: make the bundle anew`,
  noSeries: 'this store has no id, because its disk did not take one: free its disk and restart',
  draftEnded: 'the draft was ended',
  tooManyDrafts: ({ most }: { most: number }) =>
    `${most} bundles are being made already: wait for the end of one of them`,

  // Layouts of other tools.
  layoutTar: ({ reason }: { reason: string }) =>
    `this is no tar, or a damaged one (${reason}): name the folder or the tar of an OCI layout or of a docker-archive`,
  layoutCompressed: ({ name, command }: { name: string; command: string }) =>
    `this tar is compressed with ${name}: unpack it on the way, with "${command} FILE | entrepot bundle import - --as IMAGE"`,
  layoutCut: 'the tar ended before its end: send it again',
  layoutEntries: ({ most }: { most: number }) =>
    `the tar has more than ${most} entries: write a layout of one image, with "skopeo copy" or "docker save"`,
  layoutOther: ({ most }: { most: number }) =>
    `the tar has more than ${most} bytes that belong to no image: write a layout of one image, with "skopeo copy" or "docker save"`,
  layoutName: ({ name }: { name: string }) =>
    `the tar has an entry ${name}, which leads out of it: this is no layout, see who made it`,
  layoutLink: ({ name, to }: { name: string; to: string }) =>
    `the tar has a link ${name} to ${to}, which leads out of it: this is no layout, see who made it`,
  layoutType: ({ name, type }: { name: string; type: string }) =>
    `${name} is a ${type}, where a layout has files: write it with "skopeo copy" or "docker save"`,
  layoutOtherType: 'sparse file, or of an unknown type',
  layoutSize: ({ name }: { name: string }) =>
    `the tar says two sizes, or none that can be, of ${name}: write it with "skopeo copy" or "docker save"`,
  layoutTwice: ({ name }: { name: string }) =>
    `the tar has ${name} twice: write it with "skopeo copy" or "docker save"`,
  layoutDocument: ({ name, most }: { name: string; most: number }) =>
    `${name} has more than ${most} bytes, as no registry takes it: this is no image`,
  layoutNotJson: ({ name }: { name: string }) => `${name} is not JSON: copy the layout again`,
  layoutVersion: ({ found }: { found: string }) =>
    `its oci-layout is of another version (${found}): write one of 1.0.0`,
  layoutNone:
    'there is neither an OCI layout nor a docker-archive in it: the tar of a layout has "oci-layout" and "index.json" at its top, that of a docker-archive "manifest.json"',
  layoutEmpty: 'it lists no image',
  layoutSeveral: ({ names }: { names: string }) =>
    `it has several images: name one with --ref, of ${names}`,
  layoutNoSuch: ({ ref, names }: { ref: string; names: string }) =>
    `it has no image ${ref}: name one with --ref, of ${names}`,
  layoutContent: ({ digest, actual }: { digest: string; actual: string }) =>
    `the bytes of ${digest} are ${actual}: it is damaged, copy the layout again`,
  layoutListed: ({
    digest,
    listed,
    actual,
  }: Record<'listed' | 'actual', number> & { digest: string }) =>
    `${digest} has ${actual} bytes and is listed with ${listed}: it is damaged, copy the layout again`,
  layoutMissing: ({ digest }: { digest: string }) =>
    `${digest} is missing: it is not the whole image, copy it again with all that belongs to it`,
  layoutManifest: ({ digest, reason }: { digest: string; reason: string }) =>
    `${digest} is no manifest that can be kept: ${reason}`,
  layoutDepth: ({ most }: { most: number }) =>
    `its indexes list indexes more than ${most} deep: no registry takes it`,
  layoutOtherDigest: ({ digest, wanted }: { digest: string; wanted: string }) =>
    `the image is ${digest}, and it was to be ${wanted}: name its tag or its own digest with --as`,
  layoutLost: ({ digest }: { digest: string }) =>
    `${digest} came, and the disk does not give it back: see "entrepot status", then import it again`,
  refusedHere: ({ reason, advice }: { reason: string; advice?: string | undefined }) =>
    advice === undefined ? reason : `${reason} (where the bundle was made it met: ${advice})`,
  layoutRefused: ({ image, reason }: { image: string; reason: string }) =>
    `${image} gets no tag and no pin here: ${reason}`,
  layoutNotKept: ({ reason }: { reason: string }) =>
    `the store does not take it: ${reason}; make room with "entrepot gc", or raise store.maxBytes`,
  layoutBusy: ({ most }: { most: number }) =>
    `${most} imports run already: wait for the end of one of them`,
  layoutNoImage: ({ image }: { image: string }) =>
    `${image} is not one image: write it as REPOSITORY:TAG or REPOSITORY@DIGEST`,
  layoutPinned: 'imported',
  folderLacks: ({ name }: { name: string }) =>
    `the folder is none of an OCI layout, it has no ${name}: name the one that "skopeo copy" or "umoci" wrote`,
  folderLink: ({ name }: { name: string }) =>
    `${name} is a link or no file, and is not followed: copy the layout with "cp -rL" first`,
  exportOther: ({ path }: { path: string }) =>
    `${path} has something else than an OCI layout in it: name an empty folder, or one that is a layout`,
  archiveManifest: 'its manifest.json is none of a docker-archive: write it with "docker save"',
  archiveLacks: ({ name }: { name: string }) =>
    `its manifest.json names ${name}, which is missing: it is not the whole image, save it again`,
  archiveConfig:
    'its config does not say which layers it has: write it with "docker save" of Docker 1.10 or newer',
  archiveLayers: ({ layers, told }: Record<'layers' | 'told', number>) =>
    `it has ${layers} layers and its config tells of ${told}: it is damaged, save it again`,

  // Inventories.
  inventoryUnsigned:
    'the store has no key to sign with, since its disk takes no writes: see "entrepot status"',
  inventoryStopped: 'the server is stopping: ask for the inventory again when it runs',
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
  inventoryAhead: ({ number, made }: Record<'number' | 'made', number>) =>
    `this inventory says that bundle ${number} of this mirror is in force, and the last one that was made here is ${made}: have the site make another inventory`,

  // Layers that are made of held ones.
  recipe: ({ digest }: { digest: string }) =>
    `its recipe ${digest} does not make a layer: have the bundle made again, without an inventory`,
  sourceLost: ({ digest }: { digest: string }) =>
    `the copy of ${digest} at this site, of which the bundle makes a layer, is missing or damaged: have a bundle made from a new inventory of this site`,

  // The manifest and its parts.
  manifestForm: ({ place }: { place: string }) =>
    `its manifest is not as it must be (${place}): this is no bundle of entrepot, or it is damaged; copy it again`,
  manifestVersion: 'its manifest is of another form: read it with a newer version of entrepot',
  partTooSmall: ({ least }: { least: number }) =>
    `parts of this size have no room beside their manifest: write ${least} bytes at least`,
  partsTooMany: ({ most }: { most: number }) =>
    `that makes more than ${most} parts: write a larger size`,
  noBundle:
    'this is no bundle of entrepot: name the parts that "entrepot bundle create" wrote; a layout or an archive of another tool goes with a name of its own',
  packed: 'this is compressed: unpack it first, and name what comes out',
  headTooLarge: ({ path }: { path: string }) =>
    `its ${path} is larger than one may be: this is no bundle of entrepot, or it is damaged; copy it again`,
  entry: ({ path }: { path: string }) =>
    `where ${path} has to stand is something else: the part is damaged or put together by somebody else; copy it again`,
  padding: 'between its files is something else than zeros: the part is damaged; copy it again',
  unreadable: ({ reason }: { reason: string }) =>
    `its disk does not give it (${reason}): see that it is there and can be read`,
  truncated: 'it ends before its end: copy this part again, whole',
  contentLong: ({ path, digest }: { path: string; digest: string }) =>
    `${path} has more bytes than ${digest} has: have it made anew`,
  contentShort: ({ path, digest }: { path: string; digest: string }) =>
    `${path} has fewer bytes than ${digest} has: have it made anew`,
  contentDigest: ({ path, digest }: { path: string; digest: string }) =>
    `the bytes of ${path} are not those of ${digest}: copy this part again`,
  trailerKey: 'its trailer and its manifest name two keys: the part was changed; copy it again',
  trailerDigest: ({ part }: { part: number }) =>
    `the bytes of part ${part} are not those that were signed: copy this part again`,
  behindEnd: 'behind its end is something else: the part is damaged; copy it again',
  rebuildMissing: ({ part }: { part: number }) =>
    `part ${part} is missing too, and the parity part makes up for one: have a copy of one of them`,
  rebuildShort: ({ path }: { path: string }) =>
    `${path} ends before its end, so that nothing can be made from it: copy it again`,
  stateDamaged:
    'what is known of bundles is damaged: older ones are taken, and the next one lets go of what others brought',
} as const;
