import { contentAnswer, errorAnswer, jsonAnswer, textAnswer } from './fake-answer.ts';
import type { Answer, AnswerHeaders, Carried } from './fake-answer.ts';
import type { FakeContent } from './fake-content.ts';
import type { FakeStorage } from './fake-storage.ts';
import type { FakeTokenServer } from './fake-token-server.ts';
import { MEDIA_TYPES, referrerDescriptor } from './image.ts';
import type { Stored } from './image.ts';
import { decodePath } from './recorded-request.ts';
import type { RecordedRequest } from './recorded-request.ts';

type RedirectStatus = 301 | 302 | 303 | 307 | 308;

export interface RouteOptions {
  /** GETs of blobs are sent to the storage origin; HEADs are answered here, as ECR does. */
  readonly redirectBlobs?: RedirectStatus;
  /** GETs and HEADs of manifests are sent to the storage origin, as registry.k8s.io does. */
  readonly redirectManifests?: RedirectStatus;
  /**
   * Manifests, tags and referrers are redirected (307, without the query) to `/v2/<front>/…` of the
   * storage origin, where a registry without login answers them, as registry.k8s.io does.
   */
  readonly front?: string;
  /**
   * `none`: 404 (GHCR, CNCF distribution). `html`: a redirect to a sign-in page (Artifact Registry).
   * `strict`: 400 for a subject that is not there (Quay). Default `api`.
   */
  readonly referrers?: 'api' | 'none' | 'html' | 'strict';
  /** At most so many names on a page of tags, repositories or referrers, whatever `n` says. */
  readonly pageSize?: number;
  /** Names on a page when `n` is absent. Default: all. */
  readonly defaultPageSize?: number;
  /** A larger `n` is 400 (ECR). */
  readonly maxPageSize?: number;
  /**
   * `google`: `n` counts for nothing, and the document has more fields. `opaque`: in no order, with
   * a `last` that is no name (ECR). Default `spec`.
   */
  readonly listing?: 'spec' | 'google' | 'opaque';
  /**
   * The address in `Link`: relative, absolute, or of a host that only exists behind the upstream's proxy;
   * `none`: what is beyond the page is left out. Default `relative`.
   */
  readonly links?: 'relative' | 'absolute' | 'internal' | 'none';
  /** Lists come from a cache on the way, so many seconds old. */
  readonly listAge?: number;
}

export interface RateLimit {
  readonly limit: number;
  readonly remaining: number;
  /** Seconds. Default six hours. */
  readonly window?: number;
}

interface Parts {
  readonly content: FakeContent;
  readonly storage: FakeStorage;
  readonly guard: FakeTokenServer | undefined;
  readonly options: RouteOptions;
  readonly baseUrl: () => string;
}

const DIGEST = /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** The distribution API of the fake registry. */
export class FakeRoutes {
  rateLimit: RateLimit | undefined;
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  answer(request: RecordedRequest): Answer {
    const answer = this.#inFront(request) ?? this.#route(request, request.path);
    const version = { 'Docker-Distribution-Api-Version': 'registry/2.0' };
    return { ...answer, headers: { ...version, ...answer.headers } };
  }

  /** What the storage origin answers as the registry behind the front; `undefined`: not its business. */
  behind(request: RecordedRequest): Answer | undefined {
    const prefix = `/v2/${this.#parts.options.front}/`;
    if (this.#parts.options.front === undefined || !request.path.startsWith(prefix))
      return undefined;
    return this.#route(request, `/v2/${request.path.slice(prefix.length)}`);
  }

  #inFront({ path }: RecordedRequest): Answer | undefined {
    const { front } = this.#parts.options;
    const isPassedOn = /\/(manifests\/[^/]+|referrers\/[^/]+|tags\/list)$/.test(path);
    if (front === undefined || !isPassedOn) return undefined;
    const location = `${this.#parts.storage.url}/v2/${front}/${path.slice('/v2/'.length)}`;
    return { ...textAnswer(307, 'text/html', 'Moved'), headers: { Location: location } };
  }

  #route(request: RecordedRequest, path: string): Answer {
    if (path === '/sign-in') return textAnswer(200, 'text/html; charset=utf-8', '<h1>Sign in</h1>');
    if (!path.startsWith('/v2/') && path !== '/v2') return textAnswer(404, 'text/plain', 'nothing');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return errorAnswer(405, 'UNSUPPORTED', { Allow: 'GET, HEAD' });
    }
    if (path === '/v2/' || path === '/v2') {
      return this.#parts.guard?.refusal(request) ?? jsonAnswer({});
    }
    if (path === '/v2/_catalog') {
      const refusal = this.#parts.guard?.refusal(request, 'registry:catalog:*');
      return refusal ?? this.#page(request, 'repositories', this.#parts.content.repositories, {});
    }
    const match = /^\/v2\/(.+)\/(?:(manifests|blobs|referrers)\/([^/]+)|tags\/list)$/.exec(path);
    if (!match) return errorAnswer(404, 'NAME_INVALID');
    const [, repository = '', kind = 'tags', reference = ''] = match;
    return (
      this.#parts.guard?.refusal(request, `repository:${repository}:pull`) ??
      this.#content(request, repository, kind, decodePath(reference))
    );
  }

  #content(request: RecordedRequest, repository: string, kind: string, reference: string): Answer {
    const { content } = this.#parts;
    if (kind === 'manifests') return this.#manifest(request, repository, reference);
    if (kind === 'blobs') return this.#blob(request, repository, reference);
    if (!content.has(repository)) return errorAnswer(404, 'NAME_UNKNOWN');
    if (kind === 'referrers') return this.#referrers(request, repository, reference);
    const tags = content.tagsOf(repository);
    if (tags.length === 0) return jsonAnswer({ name: repository, tags: null });
    return this.#page(request, 'tags', tags, { name: repository });
  }

  #manifest(request: RecordedRequest, repository: string, reference: string): Answer {
    const { content, storage, options } = this.#parts;
    const isDigest = reference.includes(':');
    if (isDigest && !DIGEST.test(reference)) return errorAnswer(400, 'DIGEST_INVALID');
    const digest = isDigest ? reference : content.findTag(repository, reference);
    const carries: Carried = {
      repository,
      ...(!isDigest && { tag: reference }),
      ...(digest !== undefined && { digest }),
    };
    const stored = digest === undefined ? undefined : content.findManifest(repository, digest);
    if (!stored) {
      const code = content.has(repository) ? 'MANIFEST_UNKNOWN' : 'NAME_UNKNOWN';
      return { ...errorAnswer(404, code), carries };
    }
    if (!accepts(request.accept, stored.mediaType)) {
      return { ...errorAnswer(404, 'MANIFEST_UNKNOWN'), carries };
    }
    const limited = this.#countPull(request);
    if (limited.status === 429) return { ...limited, carries };
    if (options.redirectManifests !== undefined) {
      return redirect(
        options.redirectManifests,
        storage.sign('manifests', stored, carries),
        stored,
        limited.headers,
      );
    }
    const answer = contentAnswer(stored, carries);
    const headers = { ...answer.headers, ...limited.headers };
    const isKnown = request.headers['if-none-match'] === headers['ETag'];
    return isKnown
      ? { ...answer, headers, status: 304, body: Buffer.alloc(0) }
      : { ...answer, headers };
  }

  #blob(request: RecordedRequest, repository: string, digest: string): Answer {
    const { content, storage, options } = this.#parts;
    if (!DIGEST.test(digest)) return errorAnswer(400, 'DIGEST_INVALID');
    const carries = { repository, digest };
    const stored = content.findBlob(repository, digest);
    if (!stored) {
      const code = content.has(repository) ? 'BLOB_UNKNOWN' : 'NAME_UNKNOWN';
      return { ...errorAnswer(404, code), carries };
    }
    if (options.redirectBlobs !== undefined && request.method === 'GET') {
      return redirect(options.redirectBlobs, storage.sign('blobs', stored, carries), stored);
    }
    const answer = contentAnswer(stored, carries);
    return {
      ...answer,
      headers: { ...answer.headers, 'Content-Type': MEDIA_TYPES.blob, 'Accept-Ranges': 'bytes' },
      ranged: true,
    };
  }

  #referrers(request: RecordedRequest, repository: string, subject: string): Answer {
    const { content, options } = this.#parts;
    if (options.referrers === 'none') return textAnswer(404, 'text/plain', '404 page not found\n');
    if (options.referrers === 'html') {
      return { status: 302, headers: { Location: '/sign-in' }, body: Buffer.alloc(0) };
    }
    if (!DIGEST.test(subject)) return errorAnswer(400, 'DIGEST_INVALID');
    if (options.referrers === 'strict' && !content.findManifest(repository, subject)) {
      return errorAnswer(400, 'MANIFEST_INVALID');
    }
    const types = request.query.getAll('artifactType');
    const referrers = content
      .referrersOf(repository, subject)
      .map(referrerDescriptor)
      .filter(({ artifactType }) => types.length === 0 || types.includes(artifactType ?? ''));
    const byDigest = new Map(referrers.map((referrer) => [referrer.digest, referrer]));
    const page = this.#page(request, 'manifests', [...byDigest.keys()].toSorted(), {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.index,
    });
    const index = JSON.parse(page.body.toString()) as { manifests: string[] };
    const manifests = index.manifests.map((digest) => byDigest.get(digest));
    return jsonAnswer(
      { ...index, manifests },
      {
        ...page.headers,
        'Content-Type': MEDIA_TYPES.index,
        ...(types.length > 0 && { 'OCI-Filters-Applied': 'artifactType' }),
      },
    );
  }

  #page(
    request: RecordedRequest,
    field: string,
    names: readonly string[],
    rest: Readonly<Record<string, unknown>>,
  ): Answer {
    const { options } = this.#parts;
    const { pageSize = Infinity, defaultPageSize = Infinity, links = 'relative' } = options;
    if (options.listing === 'google') return jsonAnswer({ ...rest, [field]: names, ...GOOGLE });
    const asked = request.query.get('n');
    const isLarge = Number(asked) > (options.maxPageSize ?? Infinity);
    if ((asked !== null && !/^\d+$/.test(asked)) || isLarge)
      return errorAnswer(400, 'PAGINATION_NUMBER_INVALID');
    const size = Math.min(asked === null ? defaultPageSize : Number(asked), pageSize);
    const last = request.query.get('last') ?? '';
    const after = options.listing === 'opaque' ? resume(names, last) : namesAfter(names, last);
    const page = after.slice(0, size);
    const value = { ...rest, [field]: page };
    const end = page.at(-1);
    const age = options.listAge === undefined ? {} : { Age: String(options.listAge) };
    const isEnd = end === undefined || page.length === after.length;
    if (isEnd || links === 'none') return jsonAnswer(value, age);
    const query = new URLSearchParams(request.query);
    query.set('last', options.listing === 'opaque' ? opaque(end) : end);
    query.set('n', String(size));
    const bases = {
      relative: '',
      absolute: this.#parts.baseUrl(),
      internal: 'http://registry.internal',
    };
    const address = `${bases[links]}${request.path}?${query.toString()}`;
    return jsonAnswer(value, { Link: `<${address}>; rel="next"` });
  }

  /** Counts GETs of manifests as pulls, the way Docker Hub does; HEADs are free and tell the state. */
  #countPull(request: RecordedRequest): Answer {
    const nothing = { status: 200, headers: {}, body: Buffer.alloc(0) };
    if (!this.rateLimit) return nothing;
    const { limit, remaining, window = 21_600 } = this.rateLimit;
    const isPull = request.method === 'GET';
    const left = isPull ? Math.max(0, remaining - 1) : remaining;
    this.rateLimit = { limit, remaining: left, window };
    const headers = {
      'RateLimit-Limit': `${limit};w=${window}`,
      'RateLimit-Remaining': `${left};w=${window}`,
      'Docker-RateLimit-Source': '127.0.0.1',
    };
    if (isPull && remaining <= 0) return errorAnswer(429, 'TOOMANYREQUESTS', headers);
    return { ...nothing, headers };
  }
}

/** What Google adds to a list of tags. */
const GOOGLE = {
  child: [],
  manifest: { 'sha256:0': { imageSizeBytes: '1', tag: [], timeUploadedMs: '1700000000000' } },
};

function namesAfter(names: readonly string[], last: string): string[] {
  return names.filter((name) => name > last);
}

function opaque(name: string): string {
  return Buffer.from(`after ${name}`).toString('base64url');
}

/** From behind the name that the opaque `last` stands for, in the reverse of the usual order. */
function resume(names: readonly string[], last: string): string[] {
  const turned = names.toReversed();
  return turned.slice(turned.findIndex((name) => opaque(name) === last) + 1);
}

function redirect(
  status: RedirectStatus,
  location: string,
  stored: Stored,
  headers: AnswerHeaders = {},
): Answer {
  const answer = textAnswer(status, 'text/html; charset=utf-8', '<a href="elsewhere">Moved</a>');
  const digest = { 'Docker-Content-Digest': stored.digest };
  return { ...answer, headers: { ...answer.headers, ...headers, ...digest, Location: location } };
}

/** No Accept header accepts everything; a stored type that is not accepted is 404, as on GHCR. */
function accepts(accept: string | undefined, mediaType: string): boolean {
  if (accept === undefined) return true;
  const ranges = accept.split(',').map((range) => (range.split(';')[0] ?? '').trim());
  return ranges.some((range) => ['*/*', 'application/*', mediaType].includes(range));
}
