/** What people read of the mirror: errors of pulls, and why something could not be had. */
export const TEXTS = {
  announcedSize: ({ announced, held }: { announced: number; held: number }) =>
    `announced ${announced} bytes for a blob of ${held}`,
  announcedOnResumption: ({ bytes }: { bytes: number }) => `${bytes} bytes announced on resumption`,
  blobBytes: ({ bytes }: { bytes: number }) => `${bytes} bytes`,
  bytesUpTo: ({ end }: { end: number }) => `bytes up to ${end}`,
  moreBytes: 'more of them',
  transferEnded: ({ position, end }: { position: number; end: number }) =>
    `the transfer ended at ${position} of ${end} bytes`,
  ignoresRanges: 'sent all of a blob in place of a part',
  vanishedDuringTransfer: 'the blob vanished during its transfer',
  notFoundEachTime: 'the store shows the blob at every other look only',
  emptyBody: ({ digest }: { digest: string }) => `sent nothing for ${digest}`,
  vanished: ({ digest }: { digest: string }) => `${digest} vanished from its upstream`,
  noRepositoryHasIt: 'no repository is known to have it',
  repositoryHasItNoMore: ({ upstream, repository }: { upstream: string; repository: string }) =>
    `${upstream}/${repository} has it no more`,
  stillBringsIt: ({ upstream }: { upstream: string }) => `${upstream} is still bringing it`,
  stillBringsOthers: ({ upstream }: { upstream: string }) =>
    `${upstream} is still bringing others that were damaged`,
  upstreamIsDown: ({ reason }: { reason: string }) => `down: ${reason}`,
  noAnswerWithin: ({ ms }: { ms: number }) => `no answer within ${ms} ms`,
  noTurnWithin: ({ ms }: { ms: number }) => `no turn for a transfer within ${ms} ms`,
  drips: ({ floor }: { floor: number }) => `brings less than ${floor} bytes a second`,
  tooManyUnread: 'nobody waits for it, and too many such blobs are to come',
  unwanted: 'nobody wants it any more',
  stopping: 'this mirror is being stopped',
  keptHere: ({ upstream }: { upstream: string }) =>
    `${upstream} has this tag no more; a pin keeps it here`,
  unkept: 'the disk did not take it',
  keptBeside: ({ upstream, tags }: { upstream: string; tags: string }) =>
    `${upstream} does not list these tags any more, which are kept here: ${tags}`,
  insteadOf: ({ digest }: { digest: string }) =>
    `the tag has moved to ${digest}, which may not be pulled yet; this is what it last had admitted`,
  beingRevalidated: 'being revalidated',
  parentSays: ({ warning }: { warning: string }) => `its mirror says: ${warning}`,
  parentOf: ({ upstream, reason }: { upstream: string; reason: string }) =>
    `${upstream}: ${reason}`,
  noCatalog: ({ upstream }: { upstream: string }) => `${upstream} does not list its repositories`,
  mirroredWithout: ({ repository, what }: { repository: string; what: string }) =>
    `${repository} is mirrored here without ${what}, and this site is offline`,
  awayAndWithout: (missing: { repository: string; what: string; reason: string }) =>
    `${missing.reason}; ${missing.repository} is mirrored here without ${missing.what}`,
  thisManifest: 'this manifest',
  notAllowed: ({ repository }: { repository: string }) =>
    `${repository} is not among the repositories this mirror may serve`,
  noSuchUpstream: ({ name }: { name: string }) => `"${name}" is not an upstream of this mirror`,
  imageOfAddress:
    'an image begins with its registry, such as docker.io/library/alpine, and not with the address of a mirror',
  noSuchUpstreamButThese: ({ problem, names }: { problem: string; names: string }) =>
    `${problem}, which has ${names}; add it under "upstreams" in the configuration file`,
} as const;
