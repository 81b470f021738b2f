import type {
  CollectionReport,
  ImageQuery,
  ImageReport,
  ImageSummary,
  KeptImage,
  InUse,
  InUseList,
  PassedOver,
  RefreshReport,
  Pin,
  RemovalReport,
  StoreApi,
  StoreSummary,
  AbsentImage,
  VerifyState,
} from '../../src/api/store-api.ts';
import { RegistryError } from '../../src/oci/errors.ts';

/** Saturday noon; what the documents below tell of lies before it. */
export const NOON = Date.UTC(2026, 10, 21, 12);
export const DAY = 86_400_000;
export const NGINX = 'docker.io/library/nginx';
export const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;
export const OTHER_DIGEST = `sha256:${'fedcba9876543210'.repeat(4)}`;

const PIN: Pin = {
  origin: 'hand',
  image: `${NGINX}:1.27`,
  reason: 'the rollout of Monday',
  since: NOON - 2 * DAY,
};

export const PINS: readonly Pin[] = [
  PIN,
  { origin: 'config', image: 'ghcr.io/org/*:stable', since: NOON - 9 * DAY },
  { origin: 'use:cluster-a', image: 'ghcr.io/org/app:v1', since: NOON - 3_600_000 },
];

export const IMAGES: readonly [ImageSummary, ImageSummary] = [
  {
    image: NGINX,
    tags: ['1.27', 'latest'],
    digest: DIGEST,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    bytes: 60_000_000,
    ownBytes: 42_000_000,
    lastPulledAt: NOON - 3 * 3_600_000,
    pulls: 1_204,
    state: 'partial',
    missingBytes: 12_582_912,
    arrivedBytes: 4_718_592,
    pins: [PIN],
  },
  {
    image: 'ghcr.io/org/app',
    tags: [],
    digest: OTHER_DIGEST,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    bytes: 1_500,
    ownBytes: 512,
    lastPulledAt: NOON - 40 * DAY,
    pulls: 0,
    state: 'complete',
    missingBytes: 0,
    pins: [],
  },
];

const BUNDLE = { series: '5b7a0c1e-93d4-4a52-8f60-1d2e3f405162', number: 7 };

function blobDigest(figure: number): string {
  return `sha256:${String(figure).repeat(64)}`;
}

export const REPORT: ImageReport = {
  ...IMAGES[0],
  storedAt: NOON - 3 * DAY,
  tagsCheckedAt: { '1.27': NOON - DAY, latest: NOON - 5 * 60_000 },
  partOf: [OTHER_DIGEST],
  manifests: [
    {
      digest: DIGEST,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      role: 'root',
      isHeld: true,
      isWanted: true,
      bytes: 1_024,
      held: [{ digest: DIGEST, size: 1_024, upstream: 'docker.io', storedAt: NOON - 3 * DAY }],
      missing: [],
    },
    {
      digest: OTHER_DIGEST,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      role: 'platform',
      platform: 'linux/amd64',
      isHeld: true,
      isWanted: true,
      bytes: 60_000_000,
      held: [
        { digest: OTHER_DIGEST, size: 1_024, upstream: 'docker.io', storedAt: NOON - 3 * DAY },
        { digest: blobDigest(3), size: 4_000, upstream: 'docker.io', storedAt: NOON - 3 * DAY },
        { digest: blobDigest(4), size: 40_000_000, bundle: BUNDLE, storedAt: NOON - 9 * DAY },
        { digest: blobDigest(5), size: 10_000_000, storedAt: NOON - 3 * DAY },
        { digest: blobDigest(6), size: 9_994_976, layout: true, storedAt: NOON - 3_600_000 },
      ],
      missing: [{ digest: `sha256:${'1'.repeat(64)}`, size: 12_582_912, arrivedBytes: 4_718_592 }],
    },
    {
      digest: `sha256:${'2'.repeat(64)}`,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      role: 'platform',
      platform: 'linux/arm64/v8',
      isHeld: false,
      isWanted: false,
      bytes: 0,
      held: [],
      missing: [],
    },
  ],
};

export const COLLECTION: CollectionReport = {
  wantedBytes: 2_147_483_648,
  released: { images: 1, blobs: 7, bytes: 1_073_741_824 },
  images: [
    {
      image: 'ghcr.io/org/app',
      tags: ['v1', 'v2'],
      digest: OTHER_DIGEST,
      lastPulledAt: NOON - 40 * DAY,
      bytes: 1_073_741_824,
      why: 'pulled longest ago',
    },
  ],
  kept: [{ image: NGINX, tags: ['1.27'], digest: DIGEST, why: 'pinned by hand' }],
};

export const REMOVAL: RemovalReport = {
  image: 'ghcr.io/org/app:v1',
  digest: OTHER_DIGEST,
  tags: ['v1'],
  released: { images: 1, blobs: 7, bytes: 1_073_741_824 },
};

export const REFRESH: RefreshReport = {
  image: 'ghcr.io/org/app:v1',
  state: 'moved',
  digest: OTHER_DIGEST,
  before: DIGEST,
};

export const SUMMARY: StoreSummary = {
  path: '/srv/store',
  bytes: 60_001_500,
  blobs: 9,
  images: 2,
  maxBytes: 107_374_182_400,
  minFreeBytes: 2_147_483_648,
  freeBytes: 500_000_000_000,
  reservedBytes: 0,
  quarantined: { files: 0, bytes: 0 },
  partials: { files: 1, bytes: 4_096 },
  otherBytes: 2_097_152,
  state: 'ok',
  verify: {},
};

/** Answers with the documents above, and writes down what it was asked. */
export class FakeStoreApi implements StoreApi {
  readonly calls: unknown[][] = [];
  summaryNow = SUMMARY;
  imagesNow: readonly ImageSummary[] = IMAGES;
  reportNow: ImageReport | undefined = REPORT;
  collectionNow = COLLECTION;
  removalNow: RemovalReport | undefined = REMOVAL;
  tagsNow: readonly string[] = [];
  pinsOfNow: readonly Pin[] = [];
  /** Images of which nothing is held. */
  unheldNow: ReadonlySet<string> = new Set();
  pinsNow = PINS;
  passedOverNow: readonly PassedOver[] = [];
  verifyState: VerifyState = {};
  /** What verifying begins with. */
  verifyStart: VerifyState = {};
  /** Thrown by whatever is asked next. */
  fault: unknown;

  async summary(): Promise<StoreSummary> {
    return this.#answer(['summary'], this.summaryNow);
  }

  async images(query: ImageQuery): Promise<ImageSummary[]> {
    return [...this.#answer(['images', query], this.imagesNow)];
  }

  async explain(image: string): Promise<ImageReport | undefined> {
    return this.#answer(['explain', image], this.reportNow);
  }

  async absence(image: string): Promise<AbsentImage> {
    const repository = image.replace(/[@:].*/, '');
    return { image, repository, tags: this.tagsNow };
  }

  async pinsOf(): Promise<readonly Pin[]> {
    return this.pinsOfNow;
  }

  async *kept(): AsyncGenerator<KeptImage> {}

  async findHeld(images: readonly string[]): Promise<ReadonlySet<string>> {
    return new Set(images.filter((image) => !this.unheldNow.has(image)));
  }

  async planCollection(bytes?: number): Promise<CollectionReport> {
    return this.#answer(['planCollection', bytes], this.collectionNow);
  }

  async collect(bytes?: number): Promise<CollectionReport> {
    return this.#answer(['collect', bytes], this.collectionNow);
  }

  async refresh(image: string): Promise<RefreshReport> {
    return this.#answer(['refresh', image], REFRESH);
  }

  async remove(image: string, options: { isPlan: boolean }): Promise<RemovalReport | undefined> {
    return this.#answer(['remove', image, options], this.removalNow);
  }

  startVerify(): VerifyState {
    this.verifyState = this.verifyStart;
    return this.#answer(['startVerify'], this.verifyState);
  }

  pins(): readonly Pin[] {
    return this.#answer(['pins'], this.pinsNow);
  }

  async pin(image: string, reason?: string): Promise<Pin> {
    const pin = { origin: 'hand', image, ...(reason !== undefined && { reason }), since: NOON };
    return this.#answer(['pin', image, reason], pin);
  }

  async unpin(image: string): Promise<boolean> {
    return this.#answer(['unpin', image], image === PIN.image);
  }

  async setInUse(source: string, list: InUseList): Promise<InUse> {
    const pins = list.entries.map((image) => ({ origin: `use:${source}`, image, since: NOON }));
    return this.#answer(['setInUse', source, list], { pins, passedOver: this.passedOverNow });
  }

  #answer<T>(call: unknown[], answer: T): T {
    this.calls.push(call);
    if (this.fault !== undefined) throw this.fault;
    return answer;
  }
}

/** What the API says to something that names no image. */
export const NO_IMAGE = new RegistryError('NAME_INVALID', {
  message: 'this names no image',
  detail: 'write it as docker.io/library/nginx:1.27',
});
