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
  vanishedDuringTransfer: 'the blob vanished during its transfer',
  vanished: ({ digest }: { digest: string }) => `${digest} vanished from its upstream`,
  noRepositoryHasIt: 'no repository is known to have it',
  repositoryHasItNoMore: ({ upstream, repository }: { upstream: string; repository: string }) =>
    `${upstream}/${repository} has it no more`,
} as const;
