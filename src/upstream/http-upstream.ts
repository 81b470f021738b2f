import { fallbackTag, isAttachedTag } from '../oci/cosign.ts';
import { Deadline } from '../net/deadline.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import {
  digestOf,
  isDigest,
  isEmpty,
  splitDigest,
  type Algorithm,
  type Digest,
} from '../oci/digest.ts';
import { parseContentRange, parseLength } from '../oci/length.ts';
import { MAX_MANIFEST_BYTES, ManifestError, parseManifest } from '../oci/manifest.ts';
import { essence, isIndexType, isManifestType, MANIFEST_ACCEPT } from '../oci/media-types.ts';
import {
  isDigestReference,
  isRepository,
  isTag,
  type Reference,
  type Repository,
  type Tag,
} from '../oci/reference.ts';
import { INTERACTIVE, isInteractive, type Demand } from './demand.ts';
import { bodyOf, Encodings } from './encodings.ts';
import { HeadTrust } from './head-trust.ts';
import { ListingReader, type ListingRequest } from './listing.ts';
import { parentCopy } from './registry-answer.ts';
import { Referrers } from './referrers.ts';
import { RegistryClient, type RegistryResponse, type SmallResponse } from './registry-client.ts';
import type { RegistryRequest, RegistrySenderParts } from './registry-sender.ts';
import type {
  BlobBody,
  BlobHead,
  BlobHeadOptions,
  BlobOptions,
  ManifestBody,
  ManifestHead,
  ParentCopy,
  ReferrerList,
  Upstream,
} from './upstream.ts';
import { UpstreamError, type UpstreamErrorOptions } from '../oci/upstream-error.ts';
import { TEXTS } from './texts.ts';

/** ECR refuses more; registries that cap lower send a Link. */
const PAGE_SIZE = 1000;
const LISTING_MS = 120_000;

/** A registry over HTTP: the requests of the distribution spec, tolerant of known deviations. */
export class HttpUpstream implements Upstream {
  readonly name: string;
  readonly #client: RegistryClient;
  readonly #metrics: Metrics;
  readonly #prefix: string;
  readonly #listings: ListingReader;
  readonly #referrers: Referrers;
  readonly #encodings = new Encodings();
  readonly #heads: HeadTrust;
  readonly #listingMs: number;

  constructor(parts: RegistrySenderParts) {
    const { config, metrics, clock, timing } = parts;
    this.#metrics = metrics;
    this.name = config.name;
    this.#prefix = config.prefix === undefined ? '' : `${config.prefix}/`;
    this.#client = new RegistryClient(parts);
    this.#listings = new ListingReader({ upstream: this.name, client: this.#client });
    this.#referrers = new Referrers({ listings: this.#listings, clock });
    this.#heads = new HeadTrust(clock);
    this.#listingMs = timing.listingMs ?? LISTING_MS;
  }

  get status(): Upstream['status'] {
    const { trouble, accounts, hasAnswered } = this.#client;
    if (!trouble) return { state: hasAnswered ? 'up' : 'unknown', accounts };
    const { state, since, reason } = trouble;
    return { state, since, reason, accounts };
  }

  async isSilent(): Promise<boolean> {
    return this.#client.isSilent();
  }

  watch(): (reason: string) => void {
    return this.#client.watch();
  }

  async headManifest(
    repository: Repository,
    reference: Reference,
    demand: Demand = INTERACTIVE,
  ): Promise<ManifestHead | undefined> {
    const isGuess = !isInteractive(demand) && isAttachedTag(reference);
    return this.#headManifest(repository, reference, { demand, isGuess });
  }

  /**
   * `isGuess`: the tag is made of a digest and looked for unasked, for most images in vain. Then the 404
   * of a HEAD is believed as long as this registry's are true.
   */
  async #headManifest(
    repository: Repository,
    reference: Reference,
    { demand, isGuess }: { demand: Demand; isGuess: boolean },
  ): Promise<ManifestHead | undefined> {
    let isAbsent = false;
    return this.#heads.ask({
      kind: 'manifest',
      head: async () => {
        const head = await this.#askHead(repository, reference, demand);
        isAbsent = head === 'absent';
        return head === 'absent' ? undefined : head;
      },
      get: async () => {
        demand.advanced?.();
        const read = await this.#readManifest(repository, reference, { demand, attempts: 1 });
        if (!read) return undefined;
        const { body, copy } = read;
        const { mediaType } = body.manifest;
        const told = { digest: body.digest, mediaType, size: body.bytes.length };
        return { ...told, body, ...(copy && { copy }) };
      },
      isEnough: (told) =>
        told !== undefined || (isAbsent && isGuess && !this.#heads.doubts('manifest')),
    });
  }

  /** `undefined` for an answer that does not say which manifest it is about. */
  async #askHead(
    repository: Repository,
    reference: Reference,
    demand: Demand,
  ): Promise<ManifestHead | 'absent' | undefined> {
    const response = await this.#client.send({
      kind: 'manifest',
      method: 'HEAD',
      ...this.#target(repository, `manifests/${reference}`),
      headers: { accept: MANIFEST_ACCEPT },
      demand,
    });
    response.discard();
    const digest = isDigestReference(reference)
      ? reference
      : response.headers['docker-content-digest'];
    if (response.status === 404) return 'absent';
    if (!isDigest(digest)) return undefined;
    const mediaType = essence(response.headers['content-type']);
    // No manifest is empty: some middleboxes answer every HEAD with a length of 0.
    const size = sizeFrom(response) || undefined;
    const copy = parentCopy(response.headers, this.#client.secrets);
    return {
      digest,
      ...(copy && { copy }),
      ...(isManifestType(mediaType) && { mediaType }),
      ...(size !== undefined && { size }),
    };
  }

  misledByHead(): void {
    this.#heads.misled('manifest');
  }

  async getManifest(
    repository: Repository,
    reference: Reference,
    demand: Demand = INTERACTIVE,
  ): Promise<ManifestBody | undefined> {
    return (await this.#readManifest(repository, reference, { demand }))?.body;
  }

  async #readManifest(
    repository: Repository,
    reference: Reference,
    asked: Pick<RegistryRequest, 'demand' | 'attempts'>,
  ): Promise<{ body: ManifestBody; copy: ParentCopy | undefined } | undefined> {
    const response = await this.#client.read(
      {
        ...asked,
        kind: 'manifest',
        method: 'GET',
        ...this.#target(repository, `manifests/${reference}`),
        headers: { accept: MANIFEST_ACCEPT },
      },
      MAX_MANIFEST_BYTES,
    );
    if (response.status === 404) return undefined;
    if (!response.bytes) {
      throw this.#badResponse(TEXTS.manifestTooLarge({ bytes: MAX_MANIFEST_BYTES }));
    }
    const body = this.#verifyManifest(reference, response.bytes, response);
    return { body, copy: parentCopy(response.headers, this.#client.secrets) };
  }

  async headBlob(
    repository: Repository,
    digest: Digest,
    { demand = INTERACTIVE, size: listed, isWanted = false }: BlobHeadOptions = {},
  ): Promise<BlobHead | undefined> {
    const doubts404 = isWanted || listed !== undefined;
    return this.#heads.ask<BlobHead>({
      kind: 'blob',
      head: async () => {
        const response = await this.#client.send({
          kind: 'blob',
          method: 'HEAD',
          ...this.#target(repository, `blobs/${digest}`),
          demand,
        });
        response.discard();
        if (response.status === 404) return undefined;
        const said = sizeFrom(response);
        // Some middleboxes answer every HEAD without a length, with one of 0, or that of what they pack.
        const size = listed ?? (said === 0 && !isEmpty(digest) ? undefined : said);
        return { ...(size !== undefined && { size }) };
      },
      get: async () => this.#headByRange(repository, digest, { demand, listed }),
      isEnough: (told) => (told ? told.size !== undefined : !doubts404),
    });
  }

  /** Asks for the first byte, which nobody waits for. */
  async #headByRange(
    repository: Repository,
    digest: Digest,
    { demand, listed }: { demand: Demand; listed: number | undefined },
  ): Promise<BlobHead | undefined> {
    demand.advanced?.();
    const range = isEmpty(digest) ? {} : { start: 0, end: 1 };
    try {
      const body = await this.getBlob(repository, digest, { demand, ...range });
      body?.discard();
      const size = listed ?? body?.size;
      return body && { ...(size !== undefined && { size }) };
    } catch (error) {
      // It has the blob, although no range of it.
      if (error instanceof UpstreamError && error.status === 206) {
        return { ...(listed !== undefined && { size: listed }) };
      }
      throw error;
    }
  }

  /** Makes one attempt: the caller resumes a broken transfer from its position. */
  async getBlob(
    repository: Repository,
    digest: Digest,
    options: BlobOptions = {},
  ): Promise<BlobBody | undefined> {
    const { start = 0, end, demand = INTERACTIVE, size: findSize } = options;
    const ranged = start > 0 || end !== undefined;
    const response = await this.#client.send({
      kind: 'blob',
      method: 'GET',
      ...this.#target(repository, `blobs/${digest}`),
      headers: ranged ? { range: `bytes=${start}-${end === undefined ? '' : end - 1}` } : {},
      demand,
      isStream: true,
    });
    if (response.status === 404) return undefined;
    const size = response.codings.length > 0 ? await this.#sizeOf(response, findSize) : undefined;
    if (response.status === 206) return this.#partialBody(response, start, size);
    return this.#encodings.body(response, { digest, size });
  }

  async listTags(repository: Repository, demand: Demand = INTERACTIVE): Promise<Tag[] | undefined> {
    return this.#names(
      { kind: 'tags', field: 'tags', ...this.#target(repository, `tags/list`), demand },
      (name) => (isTag(name) ? name : undefined),
    );
  }

  async listRepositories(demand: Demand = INTERACTIVE): Promise<Repository[] | undefined> {
    const scope = 'registry:catalog:*';
    try {
      return await this.#names(
        { kind: 'catalog', field: 'repositories', path: '_catalog', scope, demand },
        (name) => {
          const own = name.startsWith(this.#prefix) ? name.slice(this.#prefix.length) : '';
          return isRepository(own) ? own : undefined;
        },
      );
    } catch (error) {
      // Docker Hub and others refuse the list to everybody.
      const isKept = error instanceof UpstreamError && !error.isSilence && !error.isCostly;
      if (isKept) return undefined;
      throw error;
    }
  }

  async listReferrers(
    repository: Repository,
    subject: Digest,
    demand: Demand = INTERACTIVE,
  ): Promise<ReferrerList> {
    return this.#inTime(demand, async (asked) =>
      this.#referrers.list({
        ...this.#target(repository, `referrers/${subject}`),
        fallback: async () => this.#readFallback(repository, fallbackTag(subject), asked),
        demand: asked,
      }),
    );
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
        throw new ManifestError(TEXTS.otherDigest({ digest, expected }));
      }
      return { digest, bytes, manifest };
    } catch (error) {
      if (!(error instanceof ManifestError)) throw error;
      const what = this.#client.secrets.tell(error.message, 300);
      throw this.#badResponse(TEXTS.sent({ host: response.url.host, what }), { cause: error });
    }
  }

  /** Only where an answer says that it is compressed. */
  async #sizeOf(
    response: RegistryResponse,
    findSize: BlobOptions['size'],
  ): Promise<number | undefined> {
    try {
      return await findSize?.();
    } catch (error) {
      response.discard();
      throw error;
    }
  }

  /** A 206 counts only when it says that it starts where it was asked to, and is one of the blob. */
  #partialBody(response: RegistryResponse, start: number, size: number | undefined): BlobBody {
    const header = response.headers['content-range'];
    const range = parseContentRange(header);
    const isOfBlob = this.#encodings.isRange(response, range?.size, size);
    if (range?.start === start && isOfBlob) return bodyOf(response, { start, size: range.size });
    response.discard();
    const { host } = response.url;
    if (!isOfBlob) {
      const reason = TEXTS.encodedRange({ host, encoding: response.codings.join(', ') });
      throw this.#badResponse(reason, { status: 206 });
    }
    const told = this.#client.secrets.tell(header ?? '');
    throw this.#badResponse(TEXTS.otherRange({ host, start, range: told }), { status: 206 });
  }

  /** By HEAD first, which costs no quota: most subjects have no fallback tag. */
  async #readFallback(
    repository: Repository,
    tag: Tag,
    demand: Demand,
  ): Promise<readonly Descriptor[]> {
    const head = await this.#headManifest(repository, tag, { demand, isGuess: true });
    const index = head?.body ?? (head && (await this.getManifest(repository, tag, demand)));
    return index && isIndexType(index.manifest.mediaType) ? index.manifest.successors : [];
  }

  async #names<Name extends string>(
    wanted: Omit<ListingRequest, 'accept'>,
    read: (name: string) => Name | undefined,
  ): Promise<Name[] | undefined> {
    return this.#inTime(wanted.demand, async (demand) => {
      const request = { ...wanted, demand, accept: 'application/json' };
      try {
        return await this.#listings.names({ ...request, pageSize: PAGE_SIZE }, read);
      } catch (error) {
        // Some refuse a page size that is beyond their own.
        if (!(error instanceof UpstreamError) || error.status !== 400) throw error;
        return this.#listings.names(request, read);
      }
    });
  }

  /**
   * One limit of time over all that a listing takes, which no bytes prolong: what drips would be
   * within the limit of each single request for an hour.
   */
  async #inTime<List>(demand: Demand, list: (demand: Demand) => Promise<List>): Promise<List> {
    const ms = this.#listingMs;
    using deadline = new Deadline(ms, () =>
      this.#badResponse(TEXTS.tooSlow({ ms }), { isCostly: true }),
    );
    const signals = [deadline.signal, ...(demand.signal ? [demand.signal] : [])];
    return await deadline.within(list({ ...demand, signal: AbortSignal.any(signals) }));
  }

  #nameOf(repository: Repository): string {
    return `${this.#prefix}${repository}`;
  }

  #target(repository: Repository, path: string): { path: string; scope: string } {
    const name = this.#nameOf(repository);
    return { path: `${name}/${path}`, scope: `repository:${name}:pull` };
  }

  #badResponse(reason: string, options: UpstreamErrorOptions = {}): UpstreamError {
    return new UpstreamError(this.name, 'bad-response', reason, options);
  }
}

/** What a HEAD says of a compressed answer is the length of that. */
function sizeFrom({
  codings,
  headers,
}: Pick<RegistryResponse, 'codings' | 'headers'>): number | undefined {
  return codings.length > 0 ? undefined : parseLength(headers['content-length']);
}
