import type { Metrics } from '../observe/metrics.ts';
import { readDescriptor, type Descriptor } from '../oci/descriptor.ts';
import { digestOf, isDigest, splitDigest, type Algorithm, type Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES, ManifestError, parseManifest } from '../oci/manifest.ts';
import {
  essence,
  isIndexType,
  isManifestType,
  MANIFEST_ACCEPT,
  OCI_INDEX,
} from '../oci/media-types.ts';
import {
  fallbackTag,
  isDigestReference,
  isTag,
  type Reference,
  type Repository,
  type Tag,
} from '../oci/reference.ts';
import { nextPage } from './link.ts';
import {
  RegistryClient,
  type RegistryClientParts,
  type RegistryResponse,
  type SmallResponse,
} from './registry-client.ts';
import type {
  BlobBody,
  BlobHead,
  BlobOptions,
  CallOptions,
  ManifestBody,
  ManifestHead,
  Upstream,
} from './upstream.ts';
import { UpstreamError, type UpstreamFault } from '../oci/upstream-error.ts';

/** ECR refuses more; registries that cap lower send a Link. */
const PAGE_SIZE = 1000;
const MAX_PAGES = 1000;
const MAX_PAGE_BYTES = 16 * 1024 * 1024;

/** A registry over HTTP: the verbs of the distribution spec, with the field's deviations allowed for. */
export class HttpUpstream implements Upstream {
  readonly name: string;
  readonly #client: RegistryClient;
  readonly #metrics: Metrics;

  constructor(parts: RegistryClientParts) {
    this.#metrics = parts.metrics;
    this.name = parts.config.name;
    this.#client = new RegistryClient(parts);
  }

  async headManifest(
    repository: Repository,
    reference: Reference,
    options: CallOptions = {},
  ): Promise<ManifestHead | undefined> {
    const response = await this.#client.send({
      kind: 'manifest',
      method: 'HEAD',
      path: `${repository}/manifests/${reference}`,
      scope: pullScope(repository),
      headers: { accept: MANIFEST_ACCEPT },
      signal: options.signal,
    });
    response.discard();
    if (response.status === 404) return undefined;
    if (response.status === 405) return {};
    const digest = isDigestReference(reference)
      ? reference
      : response.headers['docker-content-digest'];
    const mediaType = essence(response.headers['content-type']);
    const size = contentLength(response);
    return {
      ...(isDigest(digest) && { digest }),
      ...(isManifestType(mediaType) && { mediaType }),
      ...(size !== undefined && { size }),
    };
  }

  async getManifest(
    repository: Repository,
    reference: Reference,
    options: CallOptions = {},
  ): Promise<ManifestBody | undefined> {
    const response = await this.#client.read(
      {
        kind: 'manifest',
        method: 'GET',
        path: `${repository}/manifests/${reference}`,
        scope: pullScope(repository),
        headers: { accept: MANIFEST_ACCEPT },
        signal: options.signal,
      },
      MAX_MANIFEST_BYTES,
    );
    if (response.status === 404) return undefined;
    if (!response.bytes) {
      throw this.#error('bad-response', `a manifest larger than ${MAX_MANIFEST_BYTES} bytes`);
    }
    return this.#verifyManifest(reference, response.bytes, response);
  }

  async headBlob(
    repository: Repository,
    digest: Digest,
    options: CallOptions = {},
  ): Promise<BlobHead | undefined> {
    const response = await this.#client.send({
      kind: 'blob',
      method: 'HEAD',
      path: `${repository}/blobs/${digest}`,
      scope: pullScope(repository),
      signal: options.signal,
    });
    response.discard();
    if (response.status === 404) return undefined;
    if (response.status === 405) return this.#headByRange(repository, digest, options);
    const size = contentLength(response);
    return { ...(size !== undefined && { size }) };
  }

  /** For registries that refuse HEAD: one byte shows as well whether the blob is there. */
  async #headByRange(
    repository: Repository,
    digest: Digest,
    options: CallOptions,
  ): Promise<BlobHead | undefined> {
    const body = await this.getBlob(repository, digest, { ...options, start: 0, end: 1 });
    body?.discard();
    return body && { ...(body.size !== undefined && { size: body.size }) };
  }

  /** Makes one attempt: whoever fills a blob repeats it from where it broke. */
  async getBlob(
    repository: Repository,
    digest: Digest,
    options: BlobOptions = {},
  ): Promise<BlobBody | undefined> {
    const { start = 0, end, signal } = options;
    const ranged = start > 0 || end !== undefined;
    const response = await this.#client.send({
      kind: 'blob',
      method: 'GET',
      path: `${repository}/blobs/${digest}`,
      scope: pullScope(repository),
      headers: ranged ? { range: `bytes=${start}-${end === undefined ? '' : end - 1}` } : {},
      signal,
      retry: false,
    });
    if (response.status === 404) return undefined;
    if (response.status === 206) return this.#partialBody(response, start);
    return blobBody(response, 0, contentLength(response));
  }

  async listTags(repository: Repository, options: CallOptions = {}): Promise<Tag[] | undefined> {
    const tags = new Set<Tag>();
    const first = `${repository}/tags/list?n=${PAGE_SIZE}`;
    for await (const page of this.#pages(first, 'tags', repository, options)) {
      if (!page) return undefined;
      // Servers written in Go say null for an empty list.
      const listed = page['tags'] ?? [];
      if (!Array.isArray(listed)) throw this.#error('bad-response', 'a tags list without tags');
      for (const entry of listed) {
        // Some servers write tags of digits as numbers.
        const tag: unknown = typeof entry === 'number' ? String(entry) : entry;
        if (isTag(tag)) tags.add(tag);
      }
    }
    return [...tags].toSorted((a, b) => (a < b ? -1 : 1));
  }

  async listReferrers(
    repository: Repository,
    subject: Digest,
    options: CallOptions = {},
  ): Promise<Descriptor[]> {
    const found = await this.#askReferrers(repository, subject, options);
    if (found) return found;
    const index = await this.getManifest(repository, fallbackTag(subject), options);
    return index && isIndexType(index.manifest.mediaType) ? [...index.manifest.successors] : [];
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  #verifyManifest(reference: Reference, bytes: Buffer, response: SmallResponse): ManifestBody {
    const said = response.headers['docker-content-digest'];
    const expected = isDigestReference(reference) ? reference : isDigest(said) ? said : undefined;
    const algorithm: Algorithm = expected ? splitDigest(expected).algorithm : 'sha256';
    const digest = digestOf(bytes, algorithm);
    try {
      const manifest = parseManifest(bytes, response.headers['content-type']);
      if (expected !== undefined && digest !== expected) {
        this.#metrics.integrityFailures.inc({ upstream: this.name, where: 'manifest' });
        throw new ManifestError(`bytes with digest ${digest} for ${expected}`);
      }
      return { digest, bytes, manifest };
    } catch (error) {
      if (!(error instanceof ManifestError)) throw error;
      throw this.#error('bad-response', `${response.url.host} sent ${error.message}`, error);
    }
  }

  /** A 206 counts only when it says that it starts where it was asked to. */
  #partialBody(response: RegistryResponse, start: number): BlobBody {
    const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/i.exec(response.headers['content-range'] ?? '');
    if (!match || Number(match[1]) !== start) {
      response.discard();
      throw this.#error(
        'bad-response',
        `${response.url.host} answered a range from ${start} with "${response.headers['content-range'] ?? ''}"`,
        undefined,
        206,
      );
    }
    return blobBody(response, start, match[3] === '*' ? undefined : Number(match[3]));
  }

  /** `undefined` for a listing that does not speak the protocol; throws when nobody could say. */
  async #askReferrers(
    repository: Repository,
    subject: Digest,
    options: CallOptions,
  ): Promise<Descriptor[] | undefined> {
    const found: Descriptor[] = [];
    const first = `${repository}/referrers/${subject}`;
    try {
      for await (const page of this.#pages(first, 'referrers', repository, options)) {
        if (!page || !Array.isArray(page['manifests'])) return undefined;
        for (const entry of page['manifests']) {
          const descriptor = readDescriptor(entry);
          if (descriptor) found.push(descriptor);
        }
      }
    } catch (error) {
      if (error instanceof UpstreamError && error.fault === 'bad-response') return undefined;
      throw error;
    }
    return found;
  }

  /** The pages of a listing; `undefined` instead of the first when there is no such listing. */
  async *#pages(
    first: string,
    kind: 'tags' | 'referrers',
    repository: Repository,
    options: CallOptions,
  ): AsyncGenerator<Record<string, unknown> | undefined> {
    let path: string | undefined = first;
    for (let page = 0; path !== undefined && page < MAX_PAGES; page += 1) {
      const response: SmallResponse = await this.#client.read(
        {
          kind,
          method: 'GET',
          path,
          scope: pullScope(repository),
          headers: { accept: kind === 'referrers' ? OCI_INDEX : 'application/json' },
          signal: options.signal,
        },
        MAX_PAGE_BYTES,
      );
      if (response.status === 404) {
        yield undefined;
        return;
      }
      // A login page instead of an index, as Google's registries have sent, is no listing.
      const isListing = kind === 'tags' || essence(response.headers['content-type']) === OCI_INDEX;
      yield isListing ? this.#readPage(response, kind) : undefined;
      path = nextPage(response.headers['link'], response.url, this.#client.base);
    }
  }

  #readPage({ bytes, url }: SmallResponse, kind: string): Record<string, unknown> {
    try {
      const page: unknown = JSON.parse(bytes?.toString('utf8') ?? '');
      if (typeof page === 'object' && page !== null) return page as Record<string, unknown>;
    } catch {
      // Falls through to the one complaint.
    }
    throw this.#error('bad-response', `${url.host} sent no JSON list of ${kind}`);
  }

  #error(fault: UpstreamFault, reason: string, cause?: unknown, status?: number): UpstreamError {
    return new UpstreamError(this.name, fault, reason, {
      cause,
      ...(status !== undefined && { status }),
    });
  }
}

function pullScope(repository: Repository): string {
  return `repository:${repository}:pull`;
}

function blobBody(response: RegistryResponse, start: number, size: number | undefined): BlobBody {
  return {
    start,
    chunks: response.chunks,
    discard: () => response.discard(),
    ...(size !== undefined && { size }),
  };
}

function contentLength(response: Pick<RegistryResponse, 'headers'>): number | undefined {
  const text = response.headers['content-length'] ?? '';
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
