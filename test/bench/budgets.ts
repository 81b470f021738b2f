/** What a ratio, or a plain number where there is no peer to compare with, may be. */
export type Budget =
  | { readonly atLeast: number; readonly atMost?: never }
  | { readonly atMost: number; readonly atLeast?: never };

/** Every budget, once. A peer's name in a key means that the number is a ratio to that peer. */
export const BUDGETS = {
  blobThroughputByRegistry: { atLeast: 1.3 },
  blobCpuByRegistry: { atMost: 0.75 },
  blobThroughputByNginx: { atLeast: 1 },
  blobThroughputByPeer: { atLeast: 1 },
  blobThroughputByNode: { atLeast: 0.95 },
  /** A bare node:http server with the same headers. */
  manifestRateByNode: { atLeast: 0.6 },
  manifestRateByPeer: { atLeast: 1 },
  manifestRateByRegistry: { digest: { atLeast: 10 }, tag: { atLeast: 30 } },
  /** Upstream bytes by bytes of the blob. */
  burstAmplification: { atMost: 1 },
  /** The median client by a lone one. */
  burstMedian: { atMost: 1.1 },
  coldTotalByDirect: { atMost: 1.03 },
  coldFirstByteMs: { atMost: 10 },
  /** A large blob over a link that gives each connection a fifth of what it gives all. */
  segmentsByDirect: { atMost: 0.35 },
  segmentsBytes: { atMost: 1 },
  /** Beside the time of the upstream. */
  coldRangeMs: { atMost: 3 },
  /** Upstream bytes by those of the granules touched, or by what was read. */
  lazyByGranules: { atMost: 1.1 },
  lazyByRead: { atMost: 1.1 },
  /** An image by skopeo. */
  coldImageByDirect: { atMost: 1.1 },
  coldImageCpuByPeer: { atMost: 1.2 },
  /** Bytes on the disk for each byte that was pulled and kept. */
  coldImageWritten: { atMost: 1.05 },
  /** As many as there are tags. */
  stormRequests: { atMost: 50 },
  manyClientsMiB: { atMost: 250 },
  packageIdleMiB: { atMost: 110 },
  packageFirstAnswerS: { atMost: 0.6 },
  catalogStartS: { atMost: 2 },
  /** The slowest of a hundred hits. */
  catalogHitMs: { atMost: 1 },
  /** While images are evicted. */
  catalogWorstMs: { atMost: 50 },
  /** First byte of a pull beside a sync by that of the same pull without one. */
  syncFirstByteByIdle: { atMost: 1.2 },
  syncImagesByRegsync: { atMost: 0.6 },
  syncRequestsBeyondRegsync: { atMost: 6 },
  guardedBlobByOpen: { atLeast: 0.98 },
  guardedManifestByOpen: { atLeast: 0.9 },
  /** Of 10,000 pulls with a password, after the first. */
  passwordsCompared: { atMost: 0 },
  verdictByKeyMs: { atMost: 20 },
  verdictKeylessMs: { atMost: 100 },
  verdictKnownMs: { atMost: 1 },
  bundleSpeedBySha256sum: { atLeast: 0.8 },
  /** Of each process, server and command. */
  bundleMiB: { atMost: 150 },
  /** A bundle by the bytes that the site lacks. */
  bundleByMissing: { atMost: 1.01 },
  inventoryBytesAnImage: { atMost: 40 },
} as const satisfies Record<string, Budget | Record<string, Budget>>;
