import type { ByteRange, Content, Reader } from '../../oci/content.ts';
import { IntegrityError, isEmpty, type Digest } from '../../oci/digest.ts';
import type { Target } from '../../oci/reference.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import type { Ingest } from '../../store/files/blob-store.ts';
import { sizeInManifests } from '../possession.ts';
import { TEXTS } from '../texts.ts';
import type { DownloadDemand, SharedDemand } from './demand.ts';
import { Deposit, isStoreFault, type DepositParts } from './deposit.ts';
import { Filling } from './filling.ts';
import type { DownloadState } from './following-reader.ts';
import type { DownloadOutcome, Outcomes } from './outcomes.ts';
import { Parts } from './parts.ts';
import { Passage } from './passage.ts';
import { Progress } from './progress.ts';
import { Readers } from './readers.ts';
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
  /** Whether its repository is known to have what an earlier download has brought a part of. */
  readonly mayRead: () => Promise<boolean>;
  /** Puts on record that the upstream has sent some of it. */
  readonly shown: () => Promise<void>;
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
export class Download implements Content, DownloadOutcome {
  readonly target: Target;
  readonly digest: Digest;
  readonly #parts: DownloadParts;
  readonly #transfer: Transfer;
  readonly #segments: Segments;
  readonly #knownSize: number | undefined;
  readonly #progress = new Progress();
  readonly #readers: Readers;
  #filling: Filling | undefined;
  isBroken = false;
  /** Clients have their headers from a HEAD. */
  #isAnnounced = false;

  constructor(parts: DownloadParts) {
    this.target = parts.target;
    this.digest = parts.source.digest;
    this.#parts = parts;
    this.#transfer = new Transfer({ ...parts.source, demand: parts.demand });
    this.#segments = new Segments({ ...parts, transfer: this.#transfer });
    this.#readers = new Readers({ ...parts, transfer: this.#transfer, progress: this.#progress });
    this.#knownSize = parts.knownSize ?? parts.outcomes.sizeOf(this);
    if (this.#knownSize !== undefined) this.#transfer.expect(this.#knownSize);
  }

  get #deposit(): Deposit | undefined {
    return this.#readers.deposit;
  }

  get #ingest(): Ingest | undefined {
    return this.#deposit?.ingest;
  }

  get state(): DownloadState {
    return this.#progress.state;
  }

  get size(): number | undefined {
    return this.#readers.size;
  }

  get isVerified(): boolean {
    return this.state === 'finished';
  }

  get demand(): SharedDemand {
    return this.#parts.demand;
  }

  /** False when the upstream has no such blob. Rejects when it could not be asked. */
  get started(): Promise<boolean> {
    return this.#progress.started;
  }

  /** Resolves when it is known whether it was kept. */
  get settled(): Promise<void> {
    return this.#progress.settled;
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
    if (this.state === 'unstored') return this.#readers.passage?.reaches(0) !== true;
    return this.state === 'failed' || this.state === 'absent' || this.state === 'left';
  }

  get failure(): unknown {
    return this.#progress.failure;
  }

  /** All of it was here before anybody was asked. */
  holds(asked: DownloadDemand['ranges']): boolean {
    return this.#readers.pieces?.holds(asked) === true;
  }

  /** After `started` resolved with true. */
  async open(...how: Parameters<Readers['open']>): Promise<Reader> {
    return this.#readers.open(...how);
  }

  want(ranges: readonly ByteRange[]): Disposable | undefined {
    return this.#readers.want(ranges);
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
      const parts = isKept ? await this.#bringParts() : 'whole';
      if (parts === 'left') return await this.#leave();
      const found = isSeen ? 'started' : parts === 'whole' ? await this.#start({ isKept }) : parts;
      if (found === 'absent') await this.#endAbsent();
      else if (fault !== undefined) await this.#passOn(fault);
      else if (this.#deposit && this.#filling)
        await this.#bring(this.#deposit, this.#filling, found);
    } catch (error) {
      if (isStoreFault(error) && this.state !== 'finished') await this.#passOn(error);
      else await this.#giveUp(error);
    } finally {
      this.#transfer.discard();
      this.#deposit?.[Symbol.dispose]();
      this.#progress.settle();
    }
  }

  /** Resolves with why the store does not take it, where that is known by now. */
  async #prepare(): Promise<Error | undefined> {
    if (this.#parts.unstorable) return this.#parts.unstorable;
    try {
      const deposit = await Deposit.open(this.#parts, this.target, this.digest);
      this.#readers.deposit = deposit;
      this.#filling = new Filling(deposit, async (chunk, at) => this.#take(deposit, chunk, at));
      this.#readers.pieces = new Parts({
        ...this.#parts,
        deposit,
        filling: this.#filling,
        sized: (size) => this.#transfer.expect(size),
        answered: (start) => this.#segments.makeWay(start),
        failed: () => this.#progress.grow(),
      });
      if (this.#knownSize !== undefined) await deposit.enter(this.#knownSize);
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }

  /** As long as nobody wants all of it. */
  async #bringParts(): Promise<'whole' | 'complete' | 'absent' | 'left'> {
    const found = await this.#readers.pieces?.begin();
    if (typeof found !== 'number') return found ?? 'whole';
    this.#progress.stream();
    this.#progress.begin();
    return (await this.#readers.pieces?.run(found)) ?? 'whole';
  }

  /** What is here stays for whoever asks next. */
  async #leave(): Promise<void> {
    this.#end('left');
    await this.#deposit?.abort({ keep: true });
  }

  async #start({ isKept }: { isKept: boolean }): Promise<'started' | 'absent' | 'complete'> {
    const isNews = this.state === 'starting' && this.#transfer.turn.line().isWaiting;
    if (isNews && !(await this.#announce())) return 'absent';
    try {
      const ingest = isKept ? this.#ingest : undefined;
      return (await this.#segments.start(ingest, this.#filling)) ? 'started' : 'absent';
    } catch (error) {
      if (!this.#ingest || !(error instanceof UpstreamError) || error.status !== 416) throw error;
      // The upstream has nothing behind the partial file: it is the whole blob, or no part of it.
      const actual = (await this.#ingest.digester()).value();
      if (actual === this.digest) return 'complete';
      if (this.#readers.isShown)
        throw new IntegrityError(this.digest, { expected: this.digest, actual });
      await this.#ingest.reset();
      return (await this.#transfer.start(0)) ? 'started' : 'absent';
    }
  }

  /** Once more when it was guessed how the bytes are to be read, and nobody has seen them yet. */
  async #bring(deposit: Deposit, filling: Filling, found: 'started' | 'complete'): Promise<void> {
    for (let isSecond = false; ; isSecond = true) {
      try {
        if (found === 'started') await this.#fill(deposit, filling);
        await deposit.ingest.verify(this.#transfer.size);
        break;
      } catch (error) {
        if (!(error instanceof IntegrityError)) throw error;
        this.#transfer.settle(false);
        if (isSecond || !this.#transfer.isGuess || this.#readers.isShown) throw error;
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
    if (this.#isAnnounced) this.#progress.begin();
    return true;
  }

  async #fill(deposit: Deposit, filling: Filling): Promise<void> {
    this.#progress.stream();
    const { size } = this.#transfer;
    // An empty body is verified before its headers go out, and so is what may be empty.
    if (size !== undefined && size > 0) this.#progress.begin();
    await deposit.enter(size);
    await this.#segments.run(filling);
  }

  async #take(deposit: Deposit, chunk: Buffer, position: number): Promise<void> {
    await this.#parts.demand.pass(chunk.length);
    await deposit.write(chunk, position);
    if (!this.#transfer.isGuess) this.#progress.begin();
    this.#progress.grow();
  }

  /** What another repository or upstream sent of it stays. */
  async #endAbsent(): Promise<void> {
    const isTold = this.#isAnnounced || this.state === 'streaming';
    if (isTold) throw this.#badResponse(TEXTS.vanished(this));
    await this.#deposit?.abort({ keep: true });
    this.#end('absent');
  }

  /** The store does not take it: its clients have it all the same, from the same transfer. */
  async #passOn(fault: unknown): Promise<void> {
    const { source, demand, passages } = this.#parts;
    try {
      await this.#close();
      // Before anybody can begin another download of it. Its readers keep the file open.
      const left = await this.#deposit?.leave();
      const passage = new Passage({
        source,
        transfer: this.#transfer,
        demand,
        ...(await this.#segments.goOn(left)),
        passages,
        patienceMs: source.timing.turnMs ?? PATIENCE_MS,
      });
      this.#readers.passage = passage;
      if (this.#transfer.size === 0 && !isEmpty(this.digest)) throw this.#badResponse();
      this.#end('unstored', fault);
      await passage.run();
      const { failure } = passage;
      // Whoever it was passed on to was cut short: the bytes were not the digest's.
      if (failure instanceof IntegrityError) this.#fail(failure);
      this.isBroken = failure !== undefined;
    } catch (error) {
      await this.#giveUp(error);
    }
  }

  async #close(): Promise<void> {
    await this.#readers.pieces?.close();
    await this.#segments.close();
  }

  async #giveUp(error: unknown): Promise<void> {
    await this.#close();
    if (this.state === 'finished') {
      // Clients have their verified bytes; the store failed to keep them.
      this.#fail(error);
      await this.#deposit?.abort({ keep: false });
      return;
    }
    const isWrong = error instanceof IntegrityError;
    const isEmpty = isWrong && this.#ingest?.written === 0;
    this.#end('failed', isEmpty ? this.#badResponse() : error);
    await this.#deposit?.abort({ keep: !isWrong, isWrong });
  }

  #badResponse(reason = TEXTS.emptyBody(this)): UpstreamError {
    return new UpstreamError(this.target.upstream, 'bad-response', reason);
  }

  #end(state: Exclude<DownloadState, 'starting' | 'streaming'>, failure?: unknown): void {
    this.#progress.end(state, failure);
    this.#fail(failure);
  }

  #fail(failure: unknown): void {
    this.#progress.failure = failure;
    const { outcomes, demand, unstorable } = this.#parts;
    const isNews = failure !== undefined && failure !== unstorable && !demand.signal.aborted;
    if (isNews) outcomes.report(this, failure);
  }
}
