import { fallbackTag } from '../oci/cosign.ts';
import { Deadline } from '../net/deadline.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { isEmpty, type Digest } from '../oci/digest.ts';
import { parseContentRange } from '../oci/content.ts';
import { isIndexType } from '../oci/media-types.ts';
import {
  isRepository,
  isTag,
  type Reference,
  type Repository,
  type Tag,
} from '../oci/reference.ts';
import { INTERACTIVE, type Demand } from './demand.ts';
import { bodyOf, Encodings } from './encodings.ts';
import { HeadTrust } from './head-trust.ts';
import { ListingReader, type ListingRequest, type NameList } from './listing.ts';
import { Referrers } from './referrers.ts';
import { ManifestReader } from './manifest-reader.ts';
import { isOfBlob, sizeFrom } from './registry-answer.ts';
import { RegistryClient, type RegistryResponse } from './registry-client.ts';
import type { RegistrySenderParts } from './registry-sender.ts';
import type {
  BlobBody,
  BlobHead,
  BlobHeadOptions,
  BlobOptions,
  ManifestBody,
  ManifestHead,
  ReferrerList,
  TagList,
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
  readonly #prefix: string;
  readonly #listings: ListingReader;
  readonly #referrers: Referrers;
  readonly #encodings = new Encodings();
  readonly #heads: HeadTrust;
  readonly #manifests: ManifestReader;
  readonly #listingMs: number;

  constructor(parts: RegistrySenderParts) {
    const { config, metrics, clock, timing } = parts;
    this.name = config.name;
    this.#prefix = config.prefix === undefined ? '' : `${config.prefix}/`;
    this.#client = new RegistryClient(parts);
    this.#listings = new ListingReader({ upstream: this.name, client: this.#client });
    this.#referrers = new Referrers({ listings: this.#listings, clock });
    this.#heads = new HeadTrust({
      clock,
      isCounted: () => this.#client.accounts.some(({ limit }) => limit !== undefined),
    });
    this.#manifests = new ManifestReader({
      upstream: this.name,
      client: this.#client,
      heads: this.#heads,
      metrics,
      target: (repository, path) => this.#target(repository, path),
    });
    this.#listingMs = timing.listingMs ?? LISTING_MS;
  }

  get status(): Upstream['status'] {
    const { problem, accounts, hasAnswered } = this.#client;
    if (!problem) return { state: hasAnswered ? 'up' : 'unknown', accounts };
    const { state, since, reason } = problem;
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
    return this.#manifests.head(repository, reference, { demand });
  }

  misledByHead(): void {
    this.#heads.misled('manifest');
  }

  async getManifest(
    repository: Repository,
    reference: Reference,
    demand: Demand = INTERACTIVE,
  ): Promise<ManifestBody | undefined> {
    return this.#manifests.get(repository, reference, demand);
  }

  async headBlob(
    repository: Repository,
    digest: Digest,
    { demand = INTERACTIVE, size: listed, isWanted = false }: BlobHeadOptions = {},
  ): Promise<BlobHead | undefined> {
    const doubts404 = isWanted || listed !== undefined;
    return this.#heads.ask<BlobHead & { digest?: never }>({
      kind: 'blob',
      head: async () => {
        const response = await this.#client.send({
          kind: 'blob',
          method: 'HEAD',
          ...this.#target(repository, `blobs/${digest}`),
          demand,
          takesPages: true,
        });
        response.discard();
        if (response.status === 404) return undefined;
        if (response.page && !isOfBlob(response, digest, listed)) throw response.page;
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
    const { start = 0, end, demand = INTERACTIVE, size: findSize, withinMs } = options;
    const ranged = start > 0 || end !== undefined;
    const response = await this.#client.send({
      kind: 'blob',
      method: 'GET',
      ...this.#target(repository, `blobs/${digest}`),
      headers: ranged ? { range: `bytes=${start}-${end === undefined ? '' : end - 1}` } : {},
      demand,
      takesPages: true,
      isStream: true,
      ...(withinMs !== undefined && { withinMs }),
    });
    if (response.status === 404) return undefined;
    const isDoubtful = response.codings.length > 0 || response.page !== undefined;
    const size = isDoubtful ? await this.#sizeOf(response, findSize) : undefined;
    if (response.page && !isOfBlob(response, digest, size)) {
      response.discard();
      throw response.page;
    }
    if (response.status === 206) return this.#partialBody(response, start, size);
    return this.#encodings.body(response, {
      digest,
      size,
      findKept: async () => this.#keptSize(repository, digest, demand),
    });
  }

  /** The size that the storage keeps, of the encoded bytes; `undefined` where a range is not one of them. */
  async #keptSize(
    repository: Repository,
    digest: Digest,
    demand: Demand,
  ): Promise<number | undefined> {
    try {
      const { status, headers, codings, ...response } = await this.#client.send({
        kind: 'blob',
        method: 'GET',
        ...this.#target(repository, `blobs/${digest}`),
        headers: { range: 'bytes=0-0' },
        demand,
        attempts: 1,
      });
      response.discard();
      const isOfEncoding = status === 206 && codings.length > 0;
      return isOfEncoding ? parseContentRange(headers['content-range'])?.size : undefined;
    } catch {
      // The answer that is under way says more.
      return undefined;
    }
  }

  async listTags(
    repository: Repository,
    demand: Demand = INTERACTIVE,
    mostPages?: number,
  ): Promise<TagList | undefined> {
    const target = this.#target(repository, `tags/list`);
    const wanted = { kind: 'tags', field: 'tags', ...target, demand, mostPages } as const;
    return this.#names(wanted, (name) => (isTag(name) ? name : undefined));
  }

  async listRepositories(demand: Demand = INTERACTIVE): Promise<Repository[] | undefined> {
    const scope = 'registry:catalog:*';
    try {
      const listed = await this.#names(
        { kind: 'catalog', field: 'repositories', path: '_catalog', scope, demand },
        (name) => {
          const own = name.startsWith(this.#prefix) ? name.slice(this.#prefix.length) : '';
          return isRepository(own) ? own : undefined;
        },
      );
      return listed?.names;
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
    { isUntagged = false }: { readonly isUntagged?: boolean } = {},
  ): Promise<ReferrerList> {
    return this.#inTime(demand, async (asked) =>
      this.#referrers.list({
        ...this.#target(repository, `referrers/${subject}`),
        fallback: async () =>
          isUntagged ? [] : this.#readFallback(repository, fallbackTag(subject), asked),
        demand: asked,
      }),
    );
  }

  show(): void {
    this.#client.show();
  }

  leave({ isOffline }: { isOffline: boolean }): void {
    this.#client.leave(isOffline ? TEXTS.offline : undefined);
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  /** Only where an answer says that it is compressed, or a page. */
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
    const head = await this.#manifests.head(repository, tag, { demand, isGuess: true });
    const index = head?.body ?? (head && (await this.getManifest(repository, tag, demand)));
    index?.release?.();
    return index && isIndexType(index.manifest.mediaType) ? index.manifest.successors : [];
  }

  async #names<Name extends string>(
    wanted: Omit<ListingRequest, 'accept'>,
    read: (name: string) => Name | undefined,
  ): Promise<NameList<Name> | undefined> {
    const request = { ...wanted, accept: 'application/json', pageSize: PAGE_SIZE };
    return this.#inTime(wanted.demand, async (demand) =>
      this.#listings.names({ ...request, demand }, read),
    );
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
