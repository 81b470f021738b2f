/** What commands say in sentences: errors, remedies, titles. Cells of tables stand with their table. */
export const TEXTS = {
  // The command line.
  lineProblems: ({ problems }: { problems: string }) => `${problems} in the command line`,
  lineHelp: ({ path }: { path: string }) => `"${path} --help" tells how it is written`,
  unknownCommand: ({ name, path }: { name: string; path: string }) =>
    `${name}: there is no such command; "${path} --help" lists those there are`,
  nearCommand: ({ name, near }: { name: string; near: string }) =>
    `${name}: there is no such command; did you mean "${near}"?`,
  unknownOption: ({ name, path }: { name: string; path: string }) =>
    `${name}: ${path} has no such option; leave it out`,
  nearOption: ({ name, near }: { name: string; near: string }) =>
    `${name}: there is no such option; did you mean ${near}?`,
  optionBefore: ({ name, path }: { name: string; path: string }) =>
    `${name}: options stand behind their command; write "${path} ${name}"`,
  missingArgument: ({ name, path }: { name: string; path: string }) =>
    `<${name}> is missing; write it behind "${path}"`,
  missingValue: ({ flags }: { flags: string }) => `${flags}: its value is missing; write it behind`,
  writeBytes: 'write a size such as "10GiB" or "500MB"',
  writeCount: ({ most }: { most: number }) => `write a whole number from 1 to ${most}`,
  writeServer: 'write a URL such as "http://127.0.0.1:5001"',
  missingOption: ({ flags, description }: { flags: string; description: string }) =>
    `${flags} is missing: ${description}`,
  badValue: ({ name, value, remedy }: { name: string; value: string; remedy: string }) =>
    `${name} ${value}: ${remedy}`,
  oneOf: ({ words }: { words: string }) => `write one of ${words}`,
  tooMany: ({ word, path, most }: { word: string; path: string; most: string }) =>
    `${word}: ${path} takes ${most}; leave it out, or quote what belongs together`,
  // The admin API, and the store where no server runs.
  unserved: ({ address, reason }: { address: string; reason: string }) =>
    `no server answers at ${address} (${reason}): start it with "entrepot serve", or name its configuration with --config`,
  noStoreYet: ({ path }: { path: string }) =>
    `there is no store at ${path} yet: all is planned as for an empty one`,
  unreachable: ({ address, reason }: { address: string; reason: string }) =>
    `${address} cannot be reached (${reason}): see that it is the address of the admin API, that nothing between refuses it, and that both sides speak TLS or neither does`,
  silent: ({ address, seconds }: { address: string; seconds: number }) =>
    `the server at ${address} did not answer within ${seconds} s: its log says what it waits for; else start it anew`,
  foreign: ({ address, what }: { address: string; what: string }) =>
    `what listens at ${address} is not an admin API of entrepot (${what}): stop that program, or name another address`,
  notHttp: 'it does not speak HTTP',
  answered: ({ status }: { status: number }) => `it answered ${status}`,
  olderServer: ({ address, version, own }: { address: string; version: string; own: string }) =>
    `the server at ${address} is entrepot ${version}, older than this command (${own}): start it anew from this version`,
  otherStore: ({ address, path, own }: { address: string; path: string; own: string }) =>
    `the server at ${address} has another store, ${path}: name its configuration with --config, or start one for ${own} at another admin address`,
  noReport: ({ run }: { run: string }) =>
    `the ${run} ended without a report; the log of the server says why`,
  serverRuns: ({ address }: { address: string }) =>
    `a server runs at ${address}: stop the server first, then rebuild`,
  stoppedBy: ({ signal }: { signal: string }) => `stopped by ${signal}`,
  stopCutShort: ({ seconds }: { seconds: number }) =>
    `the stop took longer than ${seconds} s and was cut short: the disk does not answer, or a start was still under way; nothing that was promised is lost`,
  // Why the server, or a command in its place, did not start.
  storeInUse: ({ path }: { path: string }) =>
    `the store ${path} is in use by another process; stop it, or set another store.path`,
  storeDenied: ({ path, user, reason }: { path: string; user: string; reason: string }) =>
    `store.path: ${path} may not be written by ${user}: ${reason}; give ${user} write access there, or set another folder`,
  storeUnusable: ({ path, reason }: { path: string; reason: string }) =>
    `store.path: ${path} cannot be used: ${reason}; set a folder that can be written`,
  thisUser: 'this user',
  userNumber: ({ uid }: { uid: number }) => `this user (uid ${uid})`,
  fileInTheWay: 'a file stands where a folder is needed',
  readOnlyDisk: 'its file system is read-only',
  fullDisk: 'its disk has no room',
  quotaUsedUp: 'the quota of its disk is used up',
  addressInUse: 'is in use by another process',
  addressInUseRemedy: 'stop that one, or set another address',
  addressElsewhere: 'is not an address of this machine',
  addressElsewhereRemedy: 'set one that is',
  addressDenied: 'may not be opened by this user',
  addressDeniedRemedy: 'set a port above 1023, or run it as another user',
  // How the server does.
  hitRatio: ({ percent, requests }: { percent: string; requests: string }) =>
    `${percent}% of ${requests} since the start were hits`,
  noRequests: 'no request since the start',
  // What is held.
  nothingHeld: 'nothing is held',
  nothingHeldOf: ({ match }: { match: string }) => `nothing of ${match} is held`,
  moreImages: ({ images, verb }: { images: string; verb: string }) =>
    `no more than ${images} ${verb} shown: --limit shows more`,
  notHeld: 'nothing of it is held',
  size: ({ bytes, own }: { bytes: string; own: string }) =>
    `${bytes}; without it there would be ${own} more room`,
  attachedMissing: ({ bytes }: { bytes: string }) =>
    `${bytes} missing of its signatures and what else is attached: the image is whole without it`,
  arrived: ({ digest, percent, bytes }: { digest: string; percent: number; bytes: string }) =>
    `${digest}, ${percent} % of ${bytes} here, not verified`,
  arrivedOfMissing: ({ percent }: { percent: number }) => `${percent} % of it here`,
  notAskedFor: 'nobody asked for it',
  ofSeries: ({ series, number }: { series: string; number: number }) =>
    `${number} of series ${series}`,
  fromBundle: ({ series, number }: { series: string; number: number }) =>
    `bundle ${number} of ${series}`,
  fromLayout: 'a layout',
  fromUnknown: 'unknown',
  nothingToGo: 'nothing has to go',
  kept: 'older, and kept:',
  tagAlone: ({ image, others }: { image: string; others: string }) =>
    `the tag ${image}; the image stays as ${others}, so nothing is freed`,
  rebuilt: ({ counts }: { counts: string }) =>
    `the catalog is made anew from the files: ${counts}; when and how often images were pulled is lost, and counted from now on`,
  allWell: 'all as they should be',
  // The files of a node.
  oneOfThese: '--write, --remove and --check do not go together; write one of them',
  rootAlone: '--root goes with --write, --remove or --check',
  noRoot: ({ root }: { root: string }) =>
    `--root ${root}: there is no such folder; name the one where the node's file system is mounted`,
  notOnNode: ({ kind }: { kind: string }) =>
    `${kind} reads no file on a node; use what "entrepot clients ${kind}" prints`,
  noneOfOurs: 'nothing of ours is there',
  nothingChanged: 'nothing is changed',
  // Pins.
  imageOrList: 'write either an image with its reason, or --in-use with a file',
  noImage: 'write an image, or --in-use with a file of them',
  sourceAlone: '--source goes with --in-use',
  unreadableList: ({ reason }: { reason: string }) =>
    `the list of images cannot be read: ${reason}`,
  pinned: ({ image }: { image: string }) => `pinned ${image}`,
  pinnedAhead: ({ image }: { image: string }) => `pinned ${image}: nothing of it is held yet`,
  globHint: '("*" stops at a slash, "**" does not)',
  inUse: ({ images, source }: { images: string; source: string }) =>
    `${images} pinned as in use by ${source}`,
  listCut: 'its last line has no end: what it no longer names stays pinned',
  listChanges: ({ path }: { path: string }) =>
    `${path} is still being written: nothing is changed; pin when its writer is done`,
  listNotJson: ({ reason }: { reason: string }) =>
    `the list is JSON that ends early or is wrong: ${reason}; nothing is changed`,
  passedOver: ({ entries }: { entries: string }) => `${entries} passed over:`,
  andMore: ({ more }: { more: number }) => `and ${more} more`,
  elsewhere: ({ images }: { images: string }) =>
    `${images} of registries that are not mirrored here`,
  unpinned: ({ image }: { image: string }) => `unpinned ${image}`,
  nothingPinned: 'nothing is pinned',
  byOtherPin: 'by another pin by hand',
  keptAs: ({ by, image }: { by: string; image: string }) => `${by} as ${image}`,
  stillKept: ({ message, others }: { message: string; others: string }) =>
    `${message}, but ${others}`,
  // Bundles.
  keyThere: ({ path }: { path: string }) =>
    `${path} is there already, and a key that is written over is lost: name another file`,
  keyPrivate: ({ path }: { path: string }) => `${path}: for whoever makes bundles, and nobody else`,
  keyPublic: ({ path }: { path: string }) => `${path}: for sites, under bundles.trust`,
  keyUnreadable: ({ path, reason }: { path: string; reason: string }) =>
    `the key ${path} cannot be read: ${reason}; name a file that "entrepot bundle keygen" wrote`,
  keyUnwritable: ({ path, reason }: { path: string; reason: string }) =>
    `the key ${path} cannot be written: ${reason}; name a file in a folder that is there`,
  inventoryUnwritable: ({ path, reason }: { path: string; reason: string }) =>
    `the inventory ${path} cannot be written: ${reason}; name a file in a folder that is there`,
  inventoryCut: ({ reason }: { reason: string }) =>
    `the inventory broke off (${reason}): run the command again`,
  bundleOutOrTo:
    'say where the bundle goes: --out with a file or a folder, or --to with a drop folder',
  bundleNoFolder: ({ path }: { path: string }) =>
    `there is no folder ${path}: make it, or name one that is there`,
  bundleNoFile: ({ path }: { path: string }) =>
    `${path} is neither a file nor a folder: name a file or a folder that the bundle goes to`,
  bundleUnwritable: ({ path, reason }: { path: string; reason: string }) =>
    `${path} cannot be written: ${reason}; name a place that this user may write to`,
  bundleNoRoom: ({ path }: { path: string }) =>
    `the disk of ${path} is full: nothing is left of the bundle there; make room, or name another place`,
  bundleTooLarge: ({ path, needed, free }: Record<'path' | 'needed' | 'free', string>) =>
    `the bundle is ${needed}, and the disk of ${path} has ${free} free: make room, or name another place`,
  bundleFileTwice: ({ path, other }: Record<'path' | 'other', string>) =>
    `${path} and ${other} have one name: a bundle carries files by their names; rename one of them`,
  bundleFileName: ({ path }: { path: string }) =>
    `${path}: a file in a bundle has a name of at most 90 letters, digits, dots, hyphens and underscores, with no dot in front: rename it`,
  bundleFileNone: ({ path }: { path: string }) =>
    `${path} is no file: name files; a folder goes as a tar of it`,
  bundleFileUnreadable: ({ path, reason }: { path: string; reason: string }) =>
    `the file ${path} cannot be read: ${reason}`,
  bundleFileChanged: ({ path }: { path: string }) =>
    `${path} was changed while it was read: nothing is written; make the bundle again`,
  bundleDamaged: ({ digest }: { digest: string }) =>
    `${digest} is damaged in the store: nothing is written; "entrepot verify" fetches it anew, then make the bundle again`,
  bundleBroken: ({ digest }: { digest: string }) =>
    `the server broke off ${digest}: nothing is written; it was damaged, or the server was stopped: make the bundle again`,
  bundleWriting: ({ done, all }: Record<'done' | 'all', string>) => `writing: ${done} of ${all}`,
  exportNothing: 'nothing was written:',
  exportUnwritable: ({ path, reason }: { path: string; reason: string }) =>
    `${path} cannot be written: ${reason}; make room, or name another folder`,
  bundleNotMade: 'no bundle was made:',
  bundleNothing: ({ there }: { there: string }) =>
    `the site has all of it already (${there}): no bundle is written`,
  bundleRebuilt: ({
    layers,
    bytes,
    carried,
    saved,
  }: Record<'layers' | 'bytes' | 'carried' | 'saved', string>) =>
    `${layers} of ${bytes} from those that the site has and ${carried} of what is new: saves ${saved}`,
  bundleUnasked: ({ image }: { image: string }) =>
    `${image} is what it was when its upstream was last asked, which gave no answer now`,
  bundleLeftOut: ({ image, reason }: { image: string; reason: string }) =>
    `left out ${image}: ${reason}`,
  importRefused: ({ image, reason }: { image: string; reason: string }) =>
    `not taken ${image}: ${reason}`,
  inventoryUnreadable: ({ path, reason }: { path: string; reason: string }) =>
    `the inventory ${path} cannot be read: ${reason}`,

  inspectFor: ({ site }: { site: string }) => `the site ${site}, by its inventory`,
  inspectForAll: 'any site: it needs nothing but itself',
  inspectSigned: ({ id }: { id: string }) => `by the key ${id}, which is the one that was given`,
  inspectUnverified: ({ id }: { id: string }) =>
    `by the key ${id}, as it says: give its public half with --key to know`,
  inspectForeign: ({ id }: { id: string }) => `not by the key that was given; it names ${id}`,
  inspectNeeds: ({ blobs, bytes }: Record<'blobs' | 'bytes', string>) =>
    `${blobs} of ${bytes}, which the site holds`,
  inspectNeedsNone: 'nothing that it does not carry',
  inspectWhole: ({ parts }: { parts: string }) => `${parts}, all here`,
  inspectMissing: ({ here, parts, missing }: Record<'here' | 'missing' | 'parts', string>) =>
    `${here} of ${parts} here, missing: ${missing}`,
  inspectRebuild: 'the parity part makes up for it',
  inspectProblems: 'what is no part that can be read:',
  // Sync.
  noRules: 'no rules: write under "sync" what the site must hold',
  nothingSelected: 'nothing is selected: write under "sync" what the site must hold',
  nothingToRun: 'sync: write here what the site must hold, and when it is fetched',
  notSelected: 'no longer selected:',
  unasked: 'could not be asked:',
  unresolved: 'could not be resolved:',
  unknown: 'not resolved:',
  failed: 'failed:',
  noRun: 'no run yet',
  nextRun: ({ time }: { time: string }) => `next run at ${time}`,
  closedUntil: ({ time }: { time: string }) => `no window is open before ${time}`,
  moreRows: ({ more }: { more: number }) => `${more} more: --all shows them`,
  runLost: 'the run is gone without a report: the server has restarted',
  // The file of a lock.
  lockRefused: ({ path, reason }: { path: string; reason: string }) =>
    `the lock ${path}: ${reason}`,
  lockNotJson: ({ path, reason }: { path: string; reason: string }) =>
    `the lock ${path} is not JSON: ${reason}; write a new one with "entrepot sync plan --lock FILE"`,
  lockUnreadable: ({ path, reason }: { path: string; reason: string }) =>
    `the lock ${path} cannot be read: ${reason}; write a new one with "entrepot sync plan --lock FILE"`,
  lockUnwritable: ({ path, reason }: { path: string; reason: string }) =>
    `the lock ${path} cannot be written: ${reason}; name a file in a folder that is there`,
  lockNotWritten: ({ file, problems }: { file: string; problems: string }) =>
    `${file} is not written: ${problems}`,
  tagUnchanged: ({ image, digest }: { image: string; digest: string }) =>
    `${image} is unchanged: ${digest}`,
  tagMoved: ({ image, digest, before }: Record<'image' | 'digest' | 'before', string>) =>
    `${image} has moved to ${digest}, from ${before}; "entrepot warm ${image}" fetches all of it now`,
  tagUnheld: ({ image, digest }: { image: string; digest: string }) =>
    `${image} is ${digest} and not held; "entrepot warm ${image}" fetches it now`,
  tagGone: ({ image }: { image: string }) =>
    `${image} is gone: the upstream has it no more, and it is not served any longer`,
  tagKept: ({ image }: { image: string }) =>
    `${image} is gone: the upstream has it no more; a pin keeps it, and it is served as before`,
  tagAbsent: ({ image }: { image: string }) =>
    `${image} is not there: the upstream has no such tag`,

  // Bundles
  bundleStdinAlone: 'standard input is one part: give "-" alone',
  refAlone: '--ref goes with --as',
  layoutAlone: '--receipt and --allow-older are for bundles; leave them out with --as',
  layoutsAlone: '--as takes one layout: write one path',
  ownDigests:
    'registry digests are not kept: a docker-archive has no manifest, so this one is made from it, the same each time',
  unreadableFile: ({ path, reason }: { path: string; reason: string }) =>
    `${path} cannot be read (${reason})`,
  noBundleIn: ({ path }: { path: string }) =>
    `${path} has no file that ends in .tar: name the folder or the files of the bundle; a layout of another tool is taken in with --as IMAGE`,
  noBundles: 'no bundle was ever imported here',
  partsAwaited: ({ received, all, awaited }: { received: number; all: number; awaited: string }) =>
    `${received} of ${all} parts here, awaited: ${awaited}`,
  watchAlone: 'a folder is watched for bundles alone: leave out the paths and --as, or --watch',
  noBundle: 'name files or folders of bundles, - for standard input, or a folder with --watch',
  rebuiltPart: ({ part }: { part: number }) => `part ${part}, made from the others`,
  ofFile: ({ name, reason }: { name: string; reason: string }) => `${name}: ${reason}`,

  // Access
  unwritableFile: ({ path, reason }: { path: string; reason: string }) =>
    `${path} cannot be written (${reason})`,
  keyWritten: ({ path }: { path: string }) =>
    `the key is in ${path}: user _json_key, its contents as the password`,
  policyNobody: 'say with --as whose group or address it is',
  admitted: 'admitted',
  admittedByAudit: 'admitted; a rule that audits would refuse it',
  refused: 'refused',
  wouldBe: ({ outcome }: { outcome: string }) =>
    outcome === 'refused' ? 'audit, would be refused' : `audit, ${outcome}`,
  nothingRefused:
    'nothing that is pinned, in use, kept by sync or brought by a bundle would be refused',
  untaken: ({ series, number }: { series: string; number: number }) =>
    `not taken from bundle ${number} of ${series}`,
  admittedNow: 'admitted now',
  importAgain: 'import that bundle again, and it is taken',
  unjudged: ({ images }: { images: string }) =>
    images === ''
      ? 'no rule of admission is about it'
      : `no rule of admission is about it: those that are not off are about ${images}`,
  askedNothing: 'it is evidence, of which nothing is asked',
  admissionRule: ({ rule, outcome, why }: Record<'rule' | 'outcome' | 'why', string>) =>
    `${outcome} by ${rule}${why}`,
  admissionTitle: ({ rule, mode, outcome }: Record<'rule' | 'mode' | 'outcome', string>) =>
    `${rule}, ${mode}: ${outcome}`,
  undecided: 'unknown',
  byKey: ({ key }: { key: string }) => `key ${key}`,
  byIdentity: ({ identity, issuer }: { identity: string; issuer: string | undefined }) =>
    issuer === undefined ? identity : `${identity} by the word of ${issuer}`,
  seen: ({ at }: { at: string }) => `seen ${at}`,
  until: ({ at }: { at: string }) => `until ${at}`,
  counts: 'counts',
  countsNot: 'does not count',
  doubted: ({ reason }: { reason: string }) => `by its level alone: ${reason}`,
  lifted: 'lifted',
  ofSubject: ({ subject }: { subject: string }) => `of ${subject}`,
  moreFindings: ({ more }: { more: number }) => `and ${more} more findings`,
  policySubject: 'write who asks as rules name it: anonymous, user:NAME, token:NAME, group:NAME, …',
  policyGroup: 'write the name of a group as rules have it behind group:',
  policyAddress: 'write an address such as 10.2.0.7',
  policyTitle: ({ image, who }: { image: string; who: string }) => `${image} for ${who}`,
  policyUnknown: ({ name }: { name: string }) =>
    `nobody has the name ${name} now: the rules are told as if somebody had it`,
  policyOpen: 'allowed: the configuration has no access, so that everybody may',
  policyAllowed: ({ rule, what }: { rule: string; what: string }) => `allowed by ${rule}: ${what}`,
  policyRefused: 'refused: no rule gives it; nearest are',
  policyFar: 'refused: no rule gives it, and none nearly does',
  policyOthers: ({ rule, who }: { rule: string; who: string }) =>
    `${rule} gives it to others: ${who}`,
  policyImages: ({ rule, images }: { rule: string; images: string }) =>
    `${rule} gives other images: ${images}`,
  policyMay: ({ rule, may, verb }: Record<'rule' | 'may' | 'verb', string>) =>
    `${rule} gives ${may} of it, and not ${verb}`,
  policyFrom: ({ rule, from }: { rule: string; from: string }) =>
    `${rule} gives it from other addresses: ${from}`,
  policyUnknownFrom: ({ rule, from }: { rule: string; from: string }) =>
    `${rule} gives it from ${from} alone; say with --from where it is asked from`,
  pullers: ({ rule, who }: { rule: string; who: string }) => `${who}, by ${rule}`,
  noPullers: 'nobody: no rule gives it',
  noTokens: 'no token was made here',
  tokenId:
    'write the id of the token as "entrepot token list" shows it: of ent_ID_SECRET what stands in the middle',
  trustNotFetched: ({ mirror, reason }: { mirror: string; reason: string }) =>
    `${mirror} gave no trust root that counts: ${reason}; the file is as it was`,
  trustOther: ({ path, reason }: { path: string; reason: string }) =>
    `${path} is there already and is no trust root (${reason}): name another file`,
  trustUnreadable: ({ path, reason }: { path: string; reason: string }) =>
    `the trust root ${path} cannot be read: ${reason}`,
  trustUnwritable: ({ path, reason }: { path: string; reason: string }) =>
    `the trust root ${path} cannot be written: ${reason}; name a file in a folder that is there`,
  trustUnchanged: 'as it was',
  tokenRevoked: ({ id }: { id: string }) => `token ${id} counts no more`,
} as const;
