/** What users of the admin API read: messages of errors. Images and names are as they were written. */
export const TEXTS = {
  otherHost: ({ host }: { host: string }) =>
    `ask by address, not as ${host}: another name counts only when it is the host of "admin" in the configuration`,
  bodyNoObject: ({ names }: { names: string }) => `the body must be a JSON object with ${names}`,
  bodyNotJson: 'the body is not JSON in UTF-8',
  bodyType: 'write the body as JSON, with the header Content-Type: application/json',
  bodyTooLarge: ({ most }: { most: number }) => `the body has more than ${most} bytes`,
  bodyCut: 'the body ended early',
  unknownName: ({ name, names }: { name: string; names: string }) =>
    `${name} is not known here: write ${names}`,
  missing: ({ name }: { name: string }) => `"${name}" is missing: write it as a text`,
  noText: ({ name, found }: { name: string; found: string }) =>
    `"${name}" must be one text that is not empty, not ${found}`,
  noTexts: ({ name, found }: { name: string; found: string }) =>
    `"${name}" must be a list of texts, not ${found}`,
  /** Where a list was expected and is one. */
  listWith: ({ item }: { item: string }) => `with ${item}`,
  noChoice: ({ name, choices, found }: { name: string; choices: string; found: string }) =>
    `"${name}" must be ${choices}, not ${found}`,
  noFlag: ({ name, found }: { name: string; found: string }) =>
    `"${name}" must be true or false, not ${found}`,
  noObject: ({ name, found }: { name: string; found: string }) =>
    `"${name}" must be an object, not ${found}`,
  noObjects: ({ name, found }: { name: string; found: string }) =>
    `"${name}" must be a list of objects, not ${found}`,
  noCount: ({ name, most, found }: { name: string; most: number; found: string }) =>
    `"${name}" must be a whole number from 1 to ${most}, not ${found}`,
  badSource: ({ source }: { source: string }) =>
    `name the source with up to 64 letters, digits, ".", "_" and "-", not ${source}`,
  namesNoTag: ({ image }: { image: string }) =>
    `${image} names no tag: write one, such as docker.io/library/alpine:3.22; a digest means the same for ever`,
  refreshOffline:
    'this mirror is set offline and asks no upstream: what is held stays as it is; to ask, take offline: true away and reload',
  notRefreshed: ({ image, reason }: { image: string; reason: string }) =>
    `${image} could not be asked about: ${reason}; what is held stays as it is`,
  notAsked: ({ image, reason }: { image: string; reason: string }) =>
    `${image} could not be asked about: ${reason}`,
  namesNone: ({ source, entries }: { source: string; entries: string }) =>
    `no entry names an image${entries}: what ${source} had in use stays pinned; an empty list, [] as JSON, says that nothing is in use`,
  unnamed: 'an image without a name',
  elsewhere: 'not mirrored here',
  notPinned: ({ image }: { image: string }) => `${image} is not pinned by hand`,
  notHeld: ({ image }: { image: string }) => `nothing of ${image} is held`,
  othersHeld: ({ image, repository, tags }: { image: string; repository: string; tags: string }) =>
    `nothing of ${image} is held; of ${repository} there is ${tags}`,
  andMore: ({ tags, more }: { tags: string; more: number }) => `${tags} and ${more} more`,
  runUnderWay: 'a run is under way already: wait for its end, then begin this one',
  // Images that are warmed.
  noSuchWarm:
    'no such warm is known: it ended long ago, or the server has restarted; ask for its images again',
  deadline: ({ least, most, found }: Record<'least' | 'most' | 'found', string>) =>
    `"deadline" must be from ${least} to ${most}, not ${found}`,
  noPlatforms: '"platforms" must name one at least; leave it out for all of them',
  notParsed: ({ name, reason }: { name: string; reason: string }) => `"${name}": ${reason}`,
  // Access.
  adminLogin: ({ role }: { role: string }) =>
    `log in with a user or a token that has the role ${role} (access.rules)`,
  adminRole: ({ subject, role }: { subject: string; role: string }) =>
    `${subject} has not the role ${role}: give it in access.rules`,
  tokenName: '"name" must be of letters, digits, ".", "_" and "-", such as ci',
  tokenOwner: '"owner" must be of at most 128 characters, and none that a terminal obeys',
  tokenRole: '"role" must be metrics, view, operate or admin',
  tokenExpires: ({ most }: { most: number }) =>
    `"expires" must be a duration such as "90d", at most ${most} days`,
  policySubject: '"as" must name who asks as rules do, such as anonymous, user:alice or token:ci',
  policyAddress: '"from" must be an address, such as 10.2.0.7',
  tokenId: 'an id has twelve letters and digits, as "token list" shows it',
  noSuchToken: ({ id }: { id: string }) => `there is no token ${id}`,
  // Bundles.
  noTar: 'a tar is sent with "Content-Type: application/x-tar"',
  noSuchDraft:
    'no such draft is open: it ended, nobody asked for it for ten minutes, or the server has restarted; make the bundle anew',
  noSuchBlob: ({ digest }: { digest: string }) =>
    `${digest} is no blob of this draft, or is held no more: make the bundle anew`,
  badRange: ({ start, end }: Record<'start' | 'end', string>) =>
    `"start" and "end" must be byte positions, the first below the second, not ${start} and ${end}`,
  badFile: ({ at }: { at: number }) =>
    `"files[${at}]" must have a name without a folder, a digest and a size`,
  // The removal of an image.
  namesNoImage: ({ image }: { image: string }) =>
    `${image} is not one image: write it as REPOSITORY:TAG or REPOSITORY@DIGEST`,
  bareName: ({ image }: { image: string }) =>
    `say which image of ${image}: write ${image}:TAG or ${image}@DIGEST`,
  bareNameOf: ({ image, held }: { image: string; held: string }) =>
    `say which image of ${image}: write ${image}:TAG or ${image}@DIGEST; there is ${held}`,
  keptBy: ({ image, reasons }: { image: string; reasons: string }) => `${image} stays: ${reasons}`,
  keptByHand: ({ image }: { image: string }) =>
    `it is pinned by hand as ${image}; "entrepot unpin ${image}" takes that back`,
  keptByConfig: ({ image }: { image: string }) =>
    `it is pinned by the configuration as ${image}; take that out of store.pins`,
  keptInUse: ({ image, source }: { image: string; source: string }) =>
    `${source} has it in use as ${image}; leave it out of the list of ${source}`,
  keptBySync: ({ rule }: { rule: string }) =>
    `sync selects it by ${rule}; change that rule, and the next run lets it go`,
  keptByBundle: ({ series }: { series: string }) =>
    `a bundle of series ${series} brought it; one that is made for this site without it lets it go`,
  beingPulled: ({ image }: { image: string }) =>
    `${image} stays: it is being pulled; try again when that is done`,
  partOf: ({ image, whole }: { image: string; whole: string }) =>
    `${image} stays: it is part of ${whole}; remove that instead`,
  unlisted: 'no manifest lists it',
  oldest: 'pulled longest ago',
} as const;
