import type { ByteRange, Content, Reader } from '../../oci/content.ts';
import { IntegrityError, isEmpty, type Digest } from '../../oci/digest.ts';
import type { Target } from '../../oci/reference.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import type { Ingest } from '../../store/files/blob-store.ts';
import { sizeInManifests } from '../possession.ts';
import { TEXTS } from '../texts.ts';
import type { SharedDemand } from './demand.ts';
import { Deposit, isStoreFault, type DepositParts } from './deposit.ts';
import { DirectReader } from './direct-reader.ts';
import {
  FollowingReader,
  type DownloadState,
  type Growing,
  type OwnRequest,
  GrowthSignal,
} from './following-reader.ts';
import type { DownloadOutcome, Outcomes } from './outcomes.ts';
import { Passage } from './passage.ts';
import { Segments } from './segments.ts';
import { Transfer } from './transfer.ts';
import type { TransferSource } from './transfer-source.ts';

export interface DownloadParts extends DepositParts {
  readonly target: Target;
  readonly source: TransferSource;
  readonly demand: SharedDemand;
  readonly outcomes: Outcomes;
  readonly passages: Set<Passage>;
  /** The size of a blob that the store could not give. */
  readonly knownSize?: number | undefined;
  /** Why it is passed on and not kept, where that is known before. */
  readonly unstorable?: Error | undefined;
}

/** How long the readers of what is not kept wait for each other. */
const PATIENCE_MS = 2_000;

/**
 * One blob on its way from an upstream into the store, read by any number of clients meanwhile. A
 * client that leaves changes nothing here but how urgent it is. While it waits for its turn its
 * clients have their headers from a HEAD; what the store does not take is passed on to them.
 */
export class Download implements Content, Growing, DownloadOutcome {
  readonly target: Target;
  readonly digest: Digest;
  readonly #parts: DownloadParts;
  readonly #transfer: Transfer;
  readonly #segments: Segments;
  readonly #knownSize: number | undefined;
  readonly #started = Promise.withResolvers<boolean>();
  readonly #growth = new GrowthSignal();
  readonly #settled = Promise.withResolvers<void>();
  #deposit: Deposit | undefined;
  #ahead: DirectReader | undefined;
  #passage: Passage | undefined;
  isBroken = false;
  #state: DownloadState = 'starting';
  #failure: unknown;
  /** Clients have their headers from a HEAD. */
  #isAnnounced = false;
  /** A reader was told of bytes, which therefore stand. */
  #isShown = false;

  constructor(parts: DownloadParts) {
    this.target = parts.target;
    this.digest = parts.source.digest;
    this.#parts = parts;
    this.#transfer = new Transfer({ ...parts.source, demand: parts.demand });
    this.#segments = new Segments({ ...parts, transfer: this.#transfer });
    this.#knownSize = parts.knownSize ?? parts.outcomes.sizeOf(this);
    if (this.#knownSize !== undefined) this.#transfer.expect(this.#knownSize);
    // Nobody may be waiting for it when it fails.
    this.#started.promise.catch(() => undefined);
  }

  get #ingest(): Ingest | undefined {
    return this.#deposit?.ingest;
  }

  get state(): DownloadState {
    return this.#state;
  }

  get size(): number | undefined {
    return this.#state === 'finished' ? this.#ingest?.written : this.#transfer.size;
  }

  get isVerified(): boolean {
    return this.#state === 'finished';
  }

  get demand(): SharedDemand {
    return this.#parts.demand;
  }

  /** False when the upstream has no such blob. Rejects when it could not be asked. */
  get started(): Promise<boolean> {
    return this.#started.promise;
  }

  /** Resolves when it is known whether it was kept. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  /** Resolves once its upstream has brought next to nothing for a while; it goes on all the same. */
  get tooSlow(): Promise<void> {
    return this.#transfer.tooSlow;
  }

  get isWaiting(): boolean {
    return this.#transfer.turn.isWaiting;
  }

  /** Whoever joins now gets nothing from it. */
  get hasFailed(): boolean {
    if (this.#state === 'unstored') return this.#passage?.reaches(0) !== true;
    return this.#state === 'failed' || this.#state === 'absent';
  }

  get failure(): unknown {
    return this.#failure;
  }

  readableFrom(position: number): number {
    const held = this.#ingest?.heldFrom(position) ?? position;
    if (this.#state === 'finished') return held;
    if (this.#transfer.isGuess) return position;
    const readable = Math.min(held, (this.#transfer.size ?? held) - 1);
    this.#isShown ||= readable > position;
    return Math.max(position, readable);
  }

  get recent(): Growing['recent'] {
    return this.#deposit?.recent;
  }

  async growth(): Promise<void> {
    return this.#growth.next;
  }

  /** After `started` resolved with true. */
  async open(
    range: ByteRange = { start: 0, end: this.size ?? Infinity },
    client?: string,
  ): Promise<Reader> {
    const isWhole = range.start === 0 && range.end >= (this.size ?? Infinity);
    const request = { isWhole, client };
    if (this.#ingest?.retain()) {
      const { rangeMs } = this.#parts.source.timing;
      return new FollowingReader(this, this.#ingest, { range, request, rangeMs });
    }
    // Its file is closed: it has ended, and the last reader has left, or it is not kept.
    if (this.#state === 'failed') throw this.#failure;
    const stored =
      this.#state === 'finished' ? await this.#parts.blobs.find(this.digest) : undefined;
    return stored ? stored.open(range) : this.openDirect(range, request);
  }

  async openDirect(range: ByteRange, { isWhole, client }: OwnRequest): Promise<Reader> {
    const isPassed = isWhole || this.#passage?.has(range.start) === true;
    const passed = isPassed ? this.#passage?.open(range, client) : undefined;
    const own = { source: this.#parts.source, range, client, isUnverified: !isWhole };
    return passed ?? DirectReader.behind(this.#ingest, own, this.size);
  }

  openAhead(range: ByteRange): Reader | undefined {
    const { size } = this.#transfer;
    if (size === undefined || (this.#ahead && !this.#ahead.isClosed)) return undefined;
    this.#ahead = new DirectReader({
      source: this.#parts.source,
      range: { start: range.start, end: Math.min(range.end, size - 1) },
      isUnverified: true,
    });
    return this.#ahead;
  }

  /** Stops the transfer and keeps the partial file for the next attempt. */
  abort(): void {
    this.#parts.demand.abort();
  }

  /** The whole life of the download. Never rejects. */
  async run(): Promise<void> {
    try {
      const fault = await this.#prepare();
      // What lately found no room was seen at the upstream then.
      const isSeen = fault !== undefined && this.#knownSize !== undefined;
      const isKept = fault === undefined;
      const found = isSeen ? 'started' : await this.#start({ isKept });
      if (found === 'absent') await this.#endAbsent();
      else if (fault !== undefined) await this.#passOn(fault);
      else if (this.#deposit) await this.#bring(this.#deposit, found);
    } catch (error) {
      if (isStoreFault(error) && this.#state !== 'finished') await this.#passOn(error);
      else await this.#giveUp(error);
    } finally {
      this.#transfer.discard();
      this.#deposit?.[Symbol.dispose]();
      this.#settled.resolve();
    }
  }

  /** Resolves with why the store does not take it, where that is known by now. */
  async #prepare(): Promise<Error | undefined> {
    if (this.#parts.unstorable) return this.#parts.unstorable;
    try {
      this.#deposit = await Deposit.open(this.#parts, this.target, this.digest);
      if (this.#knownSize !== undefined) await this.#deposit.enter(this.#knownSize);
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }

  async #start({ isKept }: { isKept: boolean }): Promise<'started' | 'absent' | 'complete'> {
    if (this.#transfer.turn.line().isWaiting && !(await this.#announce())) return 'absent';
    try {
      return (await this.#segments.start(isKept ? this.#ingest : undefined)) ? 'started' : 'absent';
    } catch (error) {
      if (!this.#ingest || !(error instanceof UpstreamError) || error.status !== 416) throw error;
      // The upstream has nothing behind the partial file: it is the whole blob, or no part of it.
      const actual = (await this.#ingest.digester()).value();
      if (actual === this.digest) return 'complete';
      if (this.#isShown) throw new IntegrityError(this.digest, { expected: this.digest, actual });
      await this.#ingest.reset();
      return (await this.#transfer.start(0)) ? 'started' : 'absent';
    }
  }

  /** Once more when it was guessed how the bytes are to be read, and nobody has seen them yet. */
  async #bring(deposit: Deposit, found: 'started' | 'complete'): Promise<void> {
    for (let isSecond = false; ; isSecond = true) {
      try {
        if (found === 'started') await this.#fill(deposit);
        await deposit.ingest.verify(this.#transfer.size);
        break;
      } catch (error) {
        if (!(error instanceof IntegrityError)) throw error;
        this.#transfer.settle(false);
        if (isSecond || !this.#transfer.isGuess || this.#isShown) throw error;
        await deposit.restart();
        if (!(await this.#transfer.start(0))) throw this.#badResponse(TEXTS.vanished(this));
      }
    }
    this.#transfer.settle(true);
    this.#end('finished');
    await deposit.commit();
  }

  /** False when there is no such blob. Nobody waits for the headers of what is fetched beside the work. */
  async #announce(): Promise<boolean> {
    const listed = await sizeInManifests(this.#parts.catalog, this.target, this.digest);
    const { wantedByClient } = this.#parts.demand;
    const head = await this.#transfer.turn.askWhileWaiting(wantedByClient, listed);
    if (typeof head !== 'object') return head !== 'absent';
    const { size } = head;
    if (size !== undefined) this.#transfer.expect(size);
    // An empty body is verified before its headers go out.
    this.#isAnnounced = size !== 0;
    if (this.#isAnnounced) this.#started.resolve(true);
    return true;
  }

  async #fill(deposit: Deposit): Promise<void> {
    this.#state = 'streaming';
    const { size } = this.#transfer;
    // An empty body is verified before its headers go out, and so is what may be empty.
    if (size !== undefined && size > 0) this.#started.resolve(true);
    await deposit.enter(size);
    await this.#segments.run(deposit, async (chunk, at) => this.#take(deposit, chunk, at));
  }

  async #take(deposit: Deposit, chunk: Buffer, position: number): Promise<void> {
    await this.#parts.demand.pass(chunk.length);
    await deposit.write(chunk, position);
    if (!this.#transfer.isGuess) this.#started.resolve(true);
    this.#growth.wake();
  }

  /** What another repository or upstream sent of it stays. */
  async #endAbsent(): Promise<void> {
    if (this.#isAnnounced) throw this.#badResponse(TEXTS.vanished(this));
    await this.#deposit?.abort({ keep: true });
    this.#end('absent');
  }

  /** The store does not take it: its clients have it all the same, from the same transfer. */
  async #passOn(fault: unknown): Promise<void> {
    const { source, demand, passages } = this.#parts;
    try {
      await this.#segments.close();
      // Before anybody can begin another download of it. Its readers keep the file open.
      const left = await this.#deposit?.leave();
      this.#passage = new Passage({
        source,
        transfer: this.#transfer,
        demand,
        ...(await this.#segments.goOn(left)),
        passages,
        patienceMs: source.timing.turnMs ?? PATIENCE_MS,
      });
      if (this.#transfer.size === 0 && !isEmpty(this.digest)) throw this.#badResponse();
      this.#end('unstored', fault);
      await this.#passage.run();
      const { failure } = this.#passage;
      // Whoever it was passed on to was cut short: the bytes were not the digest's.
      if (failure instanceof IntegrityError) this.#fail(failure);
      this.isBroken = failure !== undefined;
    } catch (error) {
      await this.#giveUp(error);
    }
  }

  async #giveUp(error: unknown): Promise<void> {
    await this.#segments.close();
    if (this.#state === 'finished') {
      // Clients have their verified bytes; the store failed to keep them.
      this.#fail(error);
      await this.#deposit?.abort({ keep: false });
      return;
    }
    const isEmpty = error instanceof IntegrityError && this.#ingest?.written === 0;
    this.#end('failed', isEmpty ? this.#badResponse() : error);
    await this.#deposit?.abort({ keep: !(error instanceof IntegrityError) });
  }

  #badResponse(reason = TEXTS.emptyBody(this)): UpstreamError {
    return new UpstreamError(this.target.upstream, 'bad-response', reason);
  }

  #end(state: Exclude<DownloadState, 'starting' | 'streaming'>, failure?: unknown): void {
    this.#state = state;
    this.#fail(failure);
    if (state === 'failed') this.#started.reject(failure);
    else this.#started.resolve(state !== 'absent');
    this.#settled.resolve();
    this.#growth.wake();
  }

  #fail(failure: unknown): void {
    this.#failure = failure;
    const { outcomes, demand, unstorable } = this.#parts;
    const isNews = failure !== undefined && failure !== unstorable && !demand.signal.aborted;
    if (isNews) outcomes.report(this, failure);
  }
}
