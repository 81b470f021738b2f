/** Documents of the admin API's `/api/v1`. Times are milliseconds since 1970, sizes bytes. */

export interface StoreSummary {
  readonly path: string;
  readonly bytes: number;
  readonly blobs: number;
  readonly maxBytes: number;
  readonly state: 'ok' | 'full' | 'failing';
  readonly reason?: string;
  readonly since?: number;
}

export interface Pin {
  readonly origin: string;
  readonly image: string;
  readonly reason?: string;
  readonly since: number;
}

export interface Image {
  readonly image: string;
  readonly tags: readonly string[];
  readonly digest: string;
  readonly mediaType: string;
  readonly bytes: number;
  readonly ownBytes: number;
  readonly lastPulledAt: number;
  readonly state: 'complete' | 'partial';
  readonly missingBytes: number;
  readonly pins: readonly Pin[];
}

export interface ImageReport extends Image {
  readonly storedAt: number;
  readonly tagsCheckedAt: Readonly<Record<string, number>>;
  readonly manifests: readonly ManifestReport[];
  readonly partOf: readonly string[];
}

export interface ManifestReport {
  readonly digest: string;
  readonly role: string;
  readonly platform?: string;
  readonly isHeld: boolean;
  readonly isWanted: boolean;
  readonly bytes: number;
  readonly missing: readonly { readonly digest: string; readonly size: number }[];
}

export interface CollectionReport {
  readonly wantedBytes: number;
  readonly released: { readonly images: number; readonly blobs: number; readonly bytes: number };
  readonly images: readonly CollectedImage[];
  readonly kept: readonly {
    readonly image: string;
    readonly digest: string;
    readonly why: string;
  }[];
}

export interface CollectedImage {
  readonly image: string;
  readonly tags: readonly string[];
  readonly digest: string;
  readonly lastPulledAt: number;
  readonly bytes: number;
  readonly why: string;
}

export interface VerifyState {
  readonly running?: VerifyProgress;
  readonly last?: VerifyReport;
}

export interface VerifyProgress {
  readonly startedAt: number;
  readonly blobs: number;
  readonly bytes: number;
  readonly totalBlobs: number;
  readonly totalBytes: number;
  readonly damaged: number;
}

export interface VerifyReport {
  readonly startedAt: number;
  readonly endedAt: number;
  readonly blobs: number;
  readonly bytes: number;
  readonly damaged: readonly Damage[];
}

export interface Damage {
  readonly digest: string;
  readonly fault: string;
  readonly images: readonly string[];
  readonly healed: boolean;
  readonly reason?: string;
}
