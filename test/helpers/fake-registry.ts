/**
 * A scripted upstream registry on real sockets: generated content, token authentication,
 * redirects to a second origin, and every way in which an upstream breaks.
 *
 *   const registry = await FakeRegistry.start(t, { redirectBlobs: 307, auth: { kind: 'bearer' } });
 *   const image = buildImage({ seed: 1, layers: [1000, 2000] });
 *   registry.addImage('library/app', 'latest', image, { name: 'app' });
 *   const gate = registry.hold(image.layer(0), { after: 10 });
 *   … await gate.arrived(); gate.open(); …
 *   t.deepEqual(registry.conversation(), ['GET /v2/library/app/blobs/<app.layer0>', …]);
 *
 * Content   addBlob addManifest addImage addIndex tag untag remove; `name(digest, 'x')` and the
 *           `name` option make conversation lines short.
 * Watching  requests        every request to the registry, its token endpoint and its storage
 *           conversation()  the same as lines: `GET /v2/…`, `HEAD /v2/…`, `GET /v2/… bytes=5-9`,
 *                           `GET token repository:app:pull`, `GET storage /blobs/<app.layer0>`
 *           seen(what, n)   resolves once n such requests have arrived since `clear()`
 *           connections     TCP connections ever accepted: 0 proves that nobody dialled
 *           bytesSent       body bytes of all answers since `clear()`
 *
 * Faults take a `What` (fake-faults.ts: a digest, a tag, a path, a RegExp, a predicate) and
 * `{ times, method, origin }`. Each is met once unless `times` says more, in the order given,
 * and then things are well again. One answer meets at most one failure, one hold, and one
 * bend of each kind; an answer that no fault means is served well. The answer is decided when
 * the request arrives, not when its gate opens.
 *
 *   holds     hold(what, { before: 'headers' })   waits at the returned Gate; the default
 *             hold(what, { after: n | 'headers' })  headers and n body bytes are out, then it waits
 *   failures  status(what, 429, { headers, body, contentType, gate })   in place of the answer;
 *                                         without a body a JSON error that fits the status
 *             cut(what, { after: n })     n body bytes, then the connection is destroyed
 *             cut(what, { after: 'request' })   destroyed before the headers
 *             hang(what)                  no byte is ever answered (until the returned Gate opens)
 *             stall(what, { after: n })   n body bytes, then nothing (until the returned Gate opens)
 *             corrupt(what, { at: i })    byte i of the content is wrong; an answer whose range
 *                                         does not cover it is not met
 *             lieLength(what, delta)      Content-Length is off: larger, and the connection ends
 *                                         early; smaller, and the body is truncated to it
 *   bends     ignoreRange(what)           a Range request gets 200 and everything
 *             wrongRange(what, { shift }) 206 with the bytes of another, truthfully named range
 *             omitHeaders(what, [names])  without Content-Length the body comes chunked
 *             contentType(what, type)     another Content-Type, verbatim
 *             encode(what, 'gzip', { by })   a Content-Encoding nobody asked for; the bytes are gzipped
 *                                         unless `by` makes others of them. A Range is one of these.
 *             slow(what, { bytesPerSecond })
 *   heal()    forgets all faults not yet met
 *
 * Whole upstream   refuse(): ECONNREFUSED, all connections destroyed. drop(): accepted and at
 *                  once destroyed. accept(): well again, on the same port. changeTls(tls): another
 *                  certificate; renewTls(tls): the same, and what is connected goes on.
 *                  rateLimit({ limit, remaining }): Docker Hub's headers; a GET of a manifest
 *                  counts, and is 429 when none remain.
 *                  revokeTokens(), expireSignatures(): what was given out is refused from now on.
 *                  revokeUser(): so are its name, password and identity token.
 *
 * A family of registries is its options: manners (fake-routes.ts), login (fake-token-server.ts)
 * and `errors`, its own words for the codes of the spec.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ExecutionContext } from 'ava';
import { errorAnswer, resolveRange, reword } from './fake-answer.ts';
import type { Answer, ResolvedRange, Wording } from './fake-answer.ts';
import { FakeContent } from './fake-content.ts';
import { FakeFaults, isMeant } from './fake-faults.ts';
import type { Plan, What } from './fake-faults.ts';
import { FakeOrigin } from './fake-origin.ts';
import type { TlsOptions } from './fake-origin.ts';
import { FakeRoutes } from './fake-routes.ts';
import type { RateLimit, RouteOptions } from './fake-routes.ts';
import { FakeStorage } from './fake-storage.ts';
import { FakeTokenServer } from './fake-token-server.ts';
import type { AuthOptions } from './fake-token-server.ts';
import { FakeTransmission } from './fake-transmission.ts';
import type { Image, Index, Stored } from './image.ts';
import { RecordedRequest, decodePath } from './recorded-request.ts';
import type { Origin } from './recorded-request.ts';

export interface FakeRegistryOptions extends RouteOptions {
  readonly auth?: AuthOptions;
  readonly tls?: TlsOptions;
  /** The host name in all addresses, to tell two registries apart by name. Default `127.0.0.1`. */
  readonly host?: '127.0.0.1' | 'localhost' | '[::1]';
  /** The host name of the storage origin. Default: that of the registry (the port always differs). */
  readonly storageHost?: '127.0.0.1' | 'localhost' | '[::1]';
  /** By the code that stands for it; `token`: all that the token endpoint refuses. */
  readonly errors?: Readonly<Record<string, Wording>>;
  /** The clock that tokens expire by. */
  readonly now?: () => number;
}

interface NameOption {
  /** Names the manifest; its blobs become `<name>.config`, `<name>.layer0`, an index's images `<name>.0`, … */
  readonly name?: string;
}

export class FakeRegistry extends FakeFaults {
  readonly requests: RecordedRequest[] = [];
  readonly #content = new FakeContent();
  readonly #storage = new FakeStorage();
  readonly #guard: FakeTokenServer | undefined;
  readonly #routes: FakeRoutes;
  readonly #origins = new Map<Origin, FakeOrigin>();
  readonly #watchers = new Set<() => void>();
  readonly #errors: Readonly<Record<string, Wording>>;
  readonly #now: () => number;

  /** Use `start`. */
  constructor(options: FakeRegistryOptions) {
    super();
    this.#errors = options.errors ?? {};
    this.#now = options.now ?? Date.now;
    this.#guard = options.auth && this.#createGuard(options.auth, this.#now);
    this.#routes = new FakeRoutes({
      content: this.#content,
      storage: this.#storage,
      guard: this.#guard,
      options,
      baseUrl: () => this.url,
    });
  }

  /** Listens; at the end of the test all sockets are destroyed. */
  static async start(
    t: Pick<ExecutionContext, 'teardown'>,
    options: FakeRegistryOptions = {},
  ): Promise<FakeRegistry> {
    const registry = new FakeRegistry(options);
    t.teardown(() => registry.refuse());
    await registry.#listen(options);
    return registry;
  }

  /** Host and port. */
  get host(): string {
    return this.#origin('registry').host;
  }

  get url(): string {
    return this.#origin('registry').url;
  }

  get storageUrl(): string {
    return this.#storage.url;
  }

  /** Where tokens are issued. */
  get tokenHost(): string {
    return new URL(this.#guard?.realm ?? this.url).host;
  }

  get connections(): number {
    return this.#sum((origin) => origin.connections);
  }

  get openSockets(): number {
    return this.#sum((origin) => origin.openSockets);
  }

  get tokensIssued(): number {
    return this.#guard?.issued ?? 0;
  }

  get bytesSent(): number {
    return this.requests.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  }

  conversation(filter: (request: RecordedRequest) => boolean = () => true): string[] {
    return this.requests
      .filter(filter)
      .map((request) => this.#content.abbreviate(request.toString()));
  }

  /** Forgets the requests so far; those still running go on unrecorded. */
  clear(): void {
    this.requests.length = 0;
  }

  /** A digest or tag here means what was asked for: also a challenge or redirect on the way. */
  async seen(what: What, count = 1): Promise<RecordedRequest[]> {
    for (;;) {
      const found = this.requests.filter((request) => isMeant(what, request, asked(request)));
      if (found.length >= count) return found;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#watchers.add(resolve);
      await promise;
    }
  }

  name(content: string | Stored, name: string): void {
    this.#content.name(typeof content === 'string' ? content : content.digest, name);
  }

  addBlob(repository: string, blob: Buffer | Stored, { name }: NameOption = {}): Stored {
    const stored = this.#content.addBlob(repository, blob);
    if (name !== undefined) this.name(stored, name);
    return stored;
  }

  addManifest(
    repository: string,
    manifest: Stored,
    { tags = [], name }: NameOption & { readonly tags?: readonly string[] } = {},
  ): Stored {
    if (name !== undefined) this.name(manifest, name);
    return this.#content.addManifest(repository, manifest, tags);
  }

  addImage(
    repository: string,
    tag: string | undefined,
    image: Image,
    { name }: NameOption = {},
  ): void {
    this.#content.addImage(repository, tag, image, name);
  }

  addIndex(
    repository: string,
    tag: string | undefined,
    index: Index,
    { name }: NameOption = {},
  ): void {
    this.#content.addIndex(repository, tag, index, name);
  }

  tag(repository: string, tag: string, digest: string | Stored): void {
    this.#content.tag(repository, tag, typeof digest === 'string' ? digest : digest.digest);
  }

  untag(repository: string, tag: string): void {
    this.#content.untag(repository, tag);
  }

  remove(content: string | Stored): void {
    this.#content.remove(typeof content === 'string' ? content : content.digest);
  }

  rateLimit(limit: RateLimit | undefined): void {
    this.#routes.rateLimit = limit;
  }

  revokeTokens(): void {
    this.#guard?.revoke();
  }

  revokeUser(): void {
    this.#guard?.revokeUser();
  }

  expireSignatures(): void {
    this.#storage.expireSignatures();
  }

  async refuse(): Promise<void> {
    await Promise.all([...this.#origins.values()].map((origin) => origin.refuse()));
  }

  drop(): void {
    for (const origin of this.#origins.values()) origin.drop();
  }

  /** All origins come back on their ports with another certificate. */
  async changeTls(tls: TlsOptions): Promise<void> {
    await Promise.all([...this.#origins.values()].map((origin) => origin.changeTls(tls)));
  }

  /** All origins have another certificate from the next handshake on. */
  renewTls(tls: TlsOptions): void {
    for (const origin of this.#origins.values()) origin.renewTls(tls);
  }

  async accept(): Promise<void> {
    await Promise.all([...this.#origins.values()].map((origin) => origin.accept()));
  }

  async #listen(options: FakeRegistryOptions): Promise<void> {
    const { tls, host = '127.0.0.1', storageHost = host, auth } = options;
    const open = async (name: Origin, hostName: string): Promise<FakeOrigin> => {
      const handle = (request: IncomingMessage, response: ServerResponse): void =>
        void this.#handle(name, request, response);
      const origin = await FakeOrigin.start({ host: hostName, tls, handle });
      this.#origins.set(name, origin);
      return origin;
    };
    const registry = await open('registry', host);
    this.#storage.url = (await open('storage', storageHost)).url;
    const tokenHost = auth?.realmHost ?? 'same';
    const tokens = tokenHost === 'same' ? registry : await open('token', tokenHost);
    if (this.#guard) this.#guard.realm = auth?.realm ?? `${tokens.url}${this.#guard.path}`;
  }

  async #handle(
    listener: Origin,
    incoming: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const isToken = incoming.url?.split('?')[0] === this.#guard?.path;
    const origin = isToken && listener !== 'storage' ? 'token' : listener;
    const authorization = incoming.headers.authorization;
    const label = this.#guard?.describe(authorization) ?? authorization?.split(' ')[0] ?? 'none';
    const request = new RecordedRequest({ origin, incoming, response, authorization: label });
    this.requests.push(request);
    response.on('error', () => {});
    const body = await readBody(incoming);
    if (origin === 'token') request.form = new URLSearchParams(body);
    for (const wake of this.#watchers) wake();
    this.#watchers.clear();

    const answer = this.#worded(request, this.#answer(request));
    const range = rangeOf(request, answer);
    const plan = this.takeFaults(request, answer, range === 'unsatisfiable' ? undefined : range);
    const transmission = new FakeTransmission({ request, response, plan, now: this.#now });
    const replacement = this.#replacement(plan);
    const final = replacement ? this.#worded(request, replacement) : answer;
    await transmission.send(final, final === answer ? range : undefined);
  }

  #answer(request: RecordedRequest): Answer {
    if (request.origin === 'storage') {
      return this.#routes.behind(request) ?? this.#storage.answer(request);
    }
    if (request.origin === 'token') return this.#guard?.answer(request) ?? errorAnswer(404);
    return this.#routes.answer(request);
  }

  #worded({ origin }: RecordedRequest, answer: Answer): Answer {
    const { error } = answer;
    const wording =
      error === undefined ? undefined : this.#errors[origin === 'token' ? 'token' : error];
    return wording ? reword(answer, wording) : answer;
  }

  #replacement({ failure }: Plan): Answer | undefined {
    if (failure?.kind !== 'status') return undefined;
    const { status, options } = failure;
    const challenge = status === 401 ? this.#guard?.challenge() : undefined;
    const answer = challenge ?? errorAnswer(status);
    const contentType =
      options.contentType ?? (options.body === undefined ? undefined : 'text/plain');
    const headers = {
      ...answer.headers,
      ...(contentType !== undefined && { 'Content-Type': contentType }),
      ...options.headers,
    };
    if (options.body === undefined) return { ...answer, headers };
    return { status, headers, body: Buffer.from(options.body) };
  }

  #createGuard(auth: AuthOptions, now: () => number): FakeTokenServer {
    const hasRepository = (repository: string): boolean => this.#content.has(repository);
    return new FakeTokenServer({ auth, now, hasRepository });
  }

  #origin(name: Origin): FakeOrigin {
    const origin = this.#origins.get(name);
    if (!origin) throw new Error(`the fake registry has no origin ${name}`);
    return origin;
  }

  #sum(count: (origin: FakeOrigin) => number): number {
    return [...this.#origins.values()].reduce((sum, origin) => sum + count(origin), 0);
  }
}

function rangeOf(
  { headers, method }: RecordedRequest,
  answer: Answer,
): ResolvedRange | 'unsatisfiable' | undefined {
  if (!answer.ranged || method !== 'GET') return undefined;
  const condition = headers['if-range'];
  if (condition !== undefined && condition !== answer.headers['ETag']) return undefined;
  return resolveRange(headers.range, answer.body.length);
}

function asked({ path }: RecordedRequest): { repository: string; tag?: string; digest?: string } {
  const match = /^(?:\/v2\/(.+))?\/(?:manifests|blobs)\/([^/]+)$/.exec(path);
  const [, repository = '', encoded = ''] = match ?? [];
  const reference = decodePath(encoded);
  return { repository, ...(reference.includes(':') ? { digest: reference } : { tag: reference }) };
}

async function readBody(incoming: IncomingMessage): Promise<string> {
  try {
    return Buffer.concat(await incoming.toArray()).toString();
  } catch {
    return '';
  }
}
