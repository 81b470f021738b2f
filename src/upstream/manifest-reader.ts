import type { Metrics } from '../observe/metrics.ts';
import { isAttachedTag } from '../oci/cosign.ts';
import { digestOf, isDigest, splitDigest, type Algorithm } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES, ManifestError, parseManifest } from '../oci/manifest.ts';
import { essence, isManifestType, MANIFEST_ACCEPT } from '../oci/media-types.ts';
import { isDigestReference, type Reference, type Repository } from '../oci/reference.ts';
import { UpstreamError, type UpstreamErrorOptions } from '../oci/upstream-error.ts';
import { isInteractive, type Demand } from './demand.ts';
import type { HeadTrust } from './head-trust.ts';
import { parentCopy, sizeFrom } from './registry-answer.ts';
import type { RegistryClient, SmallResponse } from './registry-client.ts';
import type { RegistryRequest } from './registry-sender.ts';
import { TEXTS } from './texts.ts';
import type { ManifestBody, ManifestHead, ParentCopy } from './upstream.ts';

export interface ManifestReaderParts {
  readonly upstream: string;
  readonly client: RegistryClient;
  readonly heads: HeadTrust;
  readonly metrics: Metrics;
  readonly target: (
    repository: Repository,
    path: string,
  ) => Pick<RegistryRequest, 'path' | 'scope'>;
}

interface HeadOptions {
  readonly demand: Demand;
  readonly isGuess?: boolean;
}

/** Manifests of one registry, by HEAD where that tells enough. */
export class ManifestReader {
  readonly #parts: ManifestReaderParts;

  constructor(parts: ManifestReaderParts) {
    this.#parts = parts;
  }

  /**
   * `isGuess`: the tag is made of a digest and looked for unasked, for most images in vain. Then the 404
   * of a HEAD is believed as long as this registry's are true.
   */
  async head(
    repository: Repository,
    reference: Reference,
    { demand, isGuess = !isInteractive(demand) && isAttachedTag(reference) }: HeadOptions,
  ): Promise<ManifestHead | undefined> {
    let isAbsent = false;
    return this.#parts.heads.ask({
      kind: 'manifest',
      tag: isDigestReference(reference) ? undefined : `${repository}:${reference}`,
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
        told !== undefined || (isAbsent && isGuess && !this.#parts.heads.doubts('manifest')),
    });
  }

  /** `undefined` for an answer that does not say which manifest it is about. */
  async #askHead(
    repository: Repository,
    reference: Reference,
    demand: Demand,
  ): Promise<ManifestHead | 'absent' | undefined> {
    const response = await this.#parts.client.send({
      kind: 'manifest',
      method: 'HEAD',
      ...this.#parts.target(repository, `manifests/${reference}`),
      headers: headersFor(reference, demand),
      demand,
      takesPages: true,
    });
    response.discard();
    if (response.page && !isDigest(response.headers['docker-content-digest'])) throw response.page;
    const digest = isDigestReference(reference)
      ? reference
      : response.headers['docker-content-digest'];
    if (response.status === 404) return this.#absence(response);
    if (!isDigest(digest)) return undefined;
    const mediaType = essence(response.headers['content-type']);
    // No manifest is empty: some middleboxes answer every HEAD with a length of 0.
    const size = sizeFrom(response) || undefined;
    const copy = parentCopy(response.headers, this.#parts.client.secrets);
    return {
      digest,
      ...(copy && { copy }),
      ...(isManifestType(mediaType) && { mediaType }),
      ...(size !== undefined && { size }),
    };
  }

  async get(
    repository: Repository,
    reference: Reference,
    demand: Demand,
  ): Promise<ManifestBody | undefined> {
    return (await this.#readManifest(repository, reference, { demand }))?.body;
  }

  async #readManifest(
    repository: Repository,
    reference: Reference,
    asked: Pick<RegistryRequest, 'demand' | 'attempts'>,
  ): Promise<{ body: ManifestBody; copy: ParentCopy | undefined } | undefined> {
    const response = await this.#parts.client.read(
      {
        ...asked,
        kind: 'manifest',
        method: 'GET',
        ...this.#parts.target(repository, `manifests/${reference}`),
        headers: headersFor(reference, asked.demand),
        takesPages: true,
      },
      MAX_MANIFEST_BYTES,
    );
    if (response.status === 404) return void this.#absence(response);
    if (!response.bytes) {
      throw (
        response.page ?? this.#badResponse(TEXTS.manifestTooLarge({ bytes: MAX_MANIFEST_BYTES }))
      );
    }
    const body = this.#verifyManifest(reference, response.bytes, response);
    return { body, copy: parentCopy(response.headers, this.#parts.client.secrets) };
  }

  #verifyManifest(reference: Reference, bytes: Buffer, response: SmallResponse): ManifestBody {
    const said = response.headers['docker-content-digest'];
    const expected = isDigestReference(reference) ? reference : isDigest(said) ? said : undefined;
    const algorithm: Algorithm = expected ? splitDigest(expected).algorithm : 'sha256';
    const digest = digestOf(bytes, algorithm);
    try {
      const manifest = parseManifest(bytes, response.headers['content-type']);
      if (expected !== undefined && digest !== expected) {
        const { metrics, upstream } = this.#parts;
        metrics.integrityFailures.inc({ upstream, where: 'manifest' });
        throw new ManifestError(TEXTS.otherDigest({ digest, expected }));
      }
      return { digest, bytes, manifest, release: response.release };
    } catch (error) {
      response.release();
      if (!(error instanceof ManifestError)) throw error;
      if (response.page) throw response.page;
      const what = this.#parts.client.secrets.tell(error.message, 300);
      throw this.#badResponse(TEXTS.sent({ host: response.url.host, what }), { cause: error });
    }
  }

  /** Throws where a mirror says so that could not ask. */
  #absence({ headers, status }: Pick<SmallResponse, 'headers' | 'status'>): 'absent' {
    const copy = parentCopy(headers, this.#parts.client.secrets);
    if (!copy) return 'absent';
    throw new UpstreamError(this.#parts.upstream, 'failing', TEXTS.mirrorSays(copy), { status });
  }

  #badResponse(reason: string, options: UpstreamErrorOptions = {}): UpstreamError {
    return new UpstreamError(this.#parts.upstream, 'bad-response', reason, options);
  }
}

/** A mirror at the other side hears that its own copy of a tag is not enough (RFC 9111, section 5.2.1.4). */
function headersFor(reference: Reference, { isAnew = false }: Demand): Record<string, string> {
  const isTold = isAnew && !isDigestReference(reference);
  return { accept: MANIFEST_ACCEPT, ...(isTold && { 'cache-control': 'no-cache' }) };
}
