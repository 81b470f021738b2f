/** What people read of the store: why it does not open, has no room, or keeps an image. */
export const TEXTS = {
  inUse: ({ path, holder }: { path: string; holder: string }) =>
    `the store ${path} is in use by another process${holder}; stop it, or set another store.path`,
  noStore: ({ path }: { path: string }) =>
    `there is no store at ${path}: start one with "entrepot serve", or name its configuration with --config`,
  newerFormat: ({ path, found, known }: { path: string; found: number; known: number }) =>
    `${path} was written by a newer version (format ${found}, this one knows ${known}): run that version, or point store.path elsewhere`,
  olderFormat: ({ path, found, known }: { path: string; found: number; known: number }) =>
    `${path} was written by an older, unreleased version (format ${found}, this one knows ${known}): point store.path elsewhere`,
  foreign: ({ path }: { path: string }) => `${path} is no file of the store`,
  noManifest: ({ image }: { image: string }) => `${image} is not held, so no tag can mean it`,
  readOnly: ({ path }: { path: string }) =>
    `${path} cannot be written: what it holds is served, and nothing is added until a start finds it writable`,
  tooLargeToCopy: ({ path, most }: { path: string; most: number }) =>
    `${path} has more than the ${most} bytes that are copied from a store that cannot be written`,
  noRoom: ({ bytes, reason }: { bytes: number; reason: string }) =>
    `no room for ${bytes} bytes: ${reason}`,
  tooLarge: ({ most }: { most: number }) =>
    `larger than the ${most} bytes that one blob may take (store.maxBlobShare)`,
  nothingToEvict: 'what is held is pinned, in use, or not enough to make room',
  listNoFile: 'it is no file',
  listTooLarge: ({ most }: { most: number }) => `it has more than ${most} bytes`,
  part: 'part of another image',
  pulled: 'being pulled',
  pinned: ({ origin }: { origin: string }) => `pinned (${origin})`,
  pinnedFor: ({ origin, reason }: { origin: string; reason: string }) =>
    `pinned (${origin}: ${reason})`,
  belongsTo: ({ digest, reason }: { digest: string; reason: string }) =>
    `belongs to ${digest}, which is ${reason}`,
  freesNothing: ({ repository, reason }: { repository: string; reason: string }) =>
    `frees nothing: also in ${repository}, ${reason}`,
  size: ({ bytes }: { bytes: number }) => `${bytes} bytes`,
  fileSize: ({ bytes }: { bytes: number }) => `a file of ${bytes} bytes`,
} as const;
