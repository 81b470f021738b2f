/** What operators read of sync: reasons of problems, of releases and of readiness, and errors. */
export const TEXTS = {
  offline:
    'this mirror is set offline and asks no upstream; "entrepot sync status" tells what is ready',
  stopping: 'the server is stopping',
  late: 'not all of it was here by the deadline',
  warmOffline:
    'this mirror is set offline and asks no upstream; "entrepot explain IMAGE" tells what is held of an image',
  warmNone: 'name an image at least',
  warmTooMany: ({ most }: { most: number }) => `name ${most} images at most`,
  notOneImage: ({ image }: { image: string }) =>
    `${image} is not one image: write it as REPOSITORY:TAG or REPOSITORY@DIGEST`,
  warmBusy: ({ most }: { most: number }) =>
    `${most} warms run already: wait for the end of one of them`,

  lockVersion: 'lock.version: not a lock of this version; make a new one',
  lockDamaged: 'lock: damaged; make a new one with "sync plan --lock"',
  lockOfOtherRules:
    'lock.rules: the rules have changed since this lock was made; make a new one with "sync plan --lock"',
  lockRule: ({ place, path }: { place: string; path: string }) =>
    `${place}.rule: there is no ${path}; make a new lock`,
  lockImage: ({ place, image }: { place: string; image: string }) =>
    `${place}.image: "${image}" is not an image`,
  lockWrite: ({ image }: { image: string }) => `; write ${image}`,
  lockDigest: ({ place, digest }: { place: string; digest: string }) =>
    `${place}.digest: "${digest}" is not a digest`,
  lockTag: ({ place, tag }: { place: string; tag: string }) =>
    `${place}.tag: "${tag}" is not a tag`,
  lockSelects: ({ place, path, image }: { place: string; path: string; image: string }) =>
    `${place}: ${path} does not select ${image}`,

  scopeEmpty: 'name an image at least',
  scopeGlob: ({ image }: { image: string }) =>
    `"${image}" is not one image: write it as REPOSITORY:TAG or REPOSITORY@DIGEST`,
  scopeUnselected: ({ images }: { images: string }) =>
    `no rule selects ${images}; add one under "sync", or fetch it once with "entrepot warm"`,
  scopeNotLocked: ({ images }: { images: string }) => `the lock leaves out ${images}`,
  scopeLeftOut: 'no rule selects it now: its rule takes newer ones',
  nextIsDue: 'the next run of all is due',

  notResolved: 'no run has resolved it yet',
  noCatalog: ({ upstream }: { upstream: string }) =>
    `${upstream} does not list its repositories: write each one by name`,
  noMatch: 'no repository matches',
  noRepository: 'no such repository',
  noTags: 'the list of tags is empty',
  noTagMatches: 'no tag of the list matches',
  noTag: 'the upstream has no such tag',
  noManifest: 'the upstream has no such manifest',
  underWay: 'still being fetched when the next run was due, which goes on with it',
  withheld: ({ names }: { names: string }) =>
    `its index lists what the upstream does not have: ${names}`,
  noBlob: ({ digest }: { digest: string }) => `the upstream has no ${digest}`,
  lost: ({ digest }: { digest: string }) => `${digest} was fetched and is not there`,
  otherPlatforms: ({ platforms }: { platforms: string }) => `it is not for ${platforms}`,

  unselected: 'no rule selects it any more',
  unasked: 'its upstream could not be asked',
  emptyRule: 'the rule for its repository matches no tag',
  unresolvedRule: 'its rule could not be resolved',
  notInLock: 'the lock leaves it out',
  newerOnes: 'its rule takes newer ones in its place',
  moved: 'its tag means another image now',
  movedUnfinished: 'its tag means another image now, and not all of it was fetched before',
  deleted: 'the upstream has it no more',
  kept: ({ why }: { why: string }) => `${why}; the rule says keep`,
  guarded: ({
    why,
    leaving,
    known,
    percent,
  }: Record<'leaving' | 'known' | 'percent', number> & { why: string }) =>
    `${why}; ${leaving} of ${known} images would go, more than ${percent} % in one run; to let them go, raise sync.releaseShare`,
  postponed: ({ why }: { why: string }) => `${why}, which is not here yet`,

  platformsMissing: ({ platforms }: { platforms: string }) =>
    `the manifest of ${platforms} is missing`,
  partRefused: ({ digest, reason }: { digest: string; reason: string }) =>
    `its part ${digest}: ${reason}`,
  oneMissing: 'one file is missing',
  someMissing: ({ count }: { count: number }) => `${count} files are missing`,
  noPlatform: 'it is for none of the platforms of its rule',
  otherDigest: ({ digest }: { digest: string }) => `its tag still means ${digest} here`,
  tagNotRecorded: 'its files are here, its tag is not recorded yet',
  keptDeleted: 'kept: the upstream has it no more',
  keptMoved: 'kept: its tag means another image upstream',
  tooOld: 'not confirmed by the upstream for longer than its rule allows',
} as const;
