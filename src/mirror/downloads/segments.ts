import type { ByteRange } from '../../oci/content.ts';
import { Digester, IntegrityError, splitDigest } from '../../oci/digest.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import type { Ingest } from '../../store/files/blob-store.ts';
import type { SharedDemand } from './demand.ts';
import { Extra } from './extra.ts';
import type { Filling } from './filling.ts';
import { ConnectionRates } from './connection-rates.ts';
import { Growth } from './growth.ts';
import type { PassageParts } from './passage.ts';
import type { Transfer } from './transfer.ts';
import type { TransferSource } from './transfer-source.ts';

export interface SegmentsParts {
  readonly source: TransferSource;
  readonly demand: SharedDemand;
  /** Of the first connection. */
  readonly transfer: Transfer;
}

type Left = Pick<PassageParts, 'position' | 'digester' | 'unwritten'>;

/** Smaller blobs have one connection; no piece is larger. */
const LARGE_BYTES = 32 * 1024 * 1024;
/**
 * What a connection is given at a time: what it brings in this time, not less than this share of a large
 * blob, and towards the end of the blob less, so that all end together. A request costs a round trip, in
 * which others bring.
 */
const PIECE = { ms: 2_000, share: 1 / 16 } as const;
const LOOK_MS = 500;
/** How long the connections are measured beside each other. */
const RATE_MS = 2_000;
/** With so many connections broken off beside the first one, that one brings the rest. */
const MAX_BREAKS = 8;

/**
 * One large blob over several connections: the first one, which outlives all trouble as any transfer does,
 * and more beside it, each of which is given up at the first fault, when it gains nothing, or when anybody
 * else wants its place. Each brings one piece after the other, the earliest that is missing and not on its
 * way, so that who reads from the start waits for none behind; no byte is asked for twice.
 */
export class Segments {
  readonly #parts: SegmentsParts;
  readonly #large: number;
  readonly #extras = new Set<Extra>();
  readonly #growth = new Growth(performance.now());
  readonly #rates: ConnectionRates;
  #chunks: AsyncGenerator<Buffer, undefined> | undefined;
  #filling: Filling | undefined;
  #wanted = 1;
  #breaks = 0;
  #mayGrow = false;
  #isOver = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: SegmentsParts) {
    this.#parts = parts;
    this.#large = parts.source.timing.dividedBytes ?? LARGE_BYTES;
    this.#rates = new ConnectionRates(parts.source.timing.turnMs ?? RATE_MS);
  }

  /**
   * Begins with the first connection; false when the upstream has no such blob. `ingest`: what is here
   * already, and how it is filled; without them the blob is passed on by one connection.
   */
  async start(ingest?: Ingest, filling?: Filling): Promise<boolean> {
    const { transfer, source } = this.#parts;
    this.#filling = filling;
    const piece = ingest && (await this.#plan(ingest));
    if (!piece) return transfer.start(ingest?.written ?? 0);
    filling?.note(transfer, piece);
    transfer.follow(async () => this.#next());
    try {
      return await transfer.start(piece.start, piece.end);
    } catch (error) {
      if (piece.start > 0 || !isRefusal(error)) throw error;
      // It may have the blob, although no part of it.
      source.connections.fallBack();
      transfer.goOn(0);
      return transfer.start(0);
    }
  }

  /** What the first connection asks for; `undefined` for all of a blob that is not divided. */
  async #plan(ingest: Ingest): Promise<ByteRange | undefined> {
    const { source, transfer, demand } = this.#parts;
    const mayDivide = source.connections.most > 1 && source.queue.mayHaveExtras && !demand.isPaced;
    if (!mayDivide && ingest.size === undefined) return undefined;
    const size = ingest.size ?? transfer.size ?? (await source.describedSize()) ?? 0;
    const [first] = this.#free(size);
    if (!first) return undefined;
    const left = first.end - first.start;
    this.#mayGrow = mayDivide && left >= this.#large;
    if (this.#mayGrow) {
      return { start: first.start, end: first.start + Math.min(this.#large, Math.ceil(left / 2)) };
    }
    return ingest.size === undefined ? undefined : first;
  }

  /** To the end of the blob. Rejects with what ends the download. */
  async run(filling: Filling): Promise<void> {
    const { transfer } = this.#parts;
    this.#filling = filling;
    filling.note(transfer, { start: transfer.position, end: transfer.end ?? Infinity });
    this.#chunks = transfer.chunks();
    for (;;) {
      const { value: chunk } = await this.#chunks.next();
      if (!chunk) return;
      if (await filling.keep(transfer, chunk)) this.#came(transfer, chunk.length);
      if (filling.fault) throw filling.fault.error;
    }
  }

  /** Leaves what lies from this position on to others, but for what has come that far already. */
  makeWay(position: number): void {
    const { transfer: first } = this.#parts;
    for (const transfer of [first, ...[...this.#extras].map((each) => each.transfer)]) {
      const { start = position, end = position } = this.#filling?.of(transfer) ?? {};
      if (end <= position || start >= position) continue;
      if (transfer === first) transfer.follow(async () => this.#next());
      transfer.shorten(position);
      this.#filling?.note(transfer, { start, end: position });
    }
  }

  /** Ends the connections beside the first one. */
  async close(): Promise<void> {
    this.#isOver = true;
    clearInterval(this.#timer);
    for (const extra of this.#extras) extra.abort();
    await Promise.all([...this.#extras].map(async ({ ended }) => ended));
  }

  /** After `close`: by one connection to the end, from where the store has left it, or from the start. */
  async goOn(left?: Left): Promise<Left & Pick<PassageParts, 'chunks'>> {
    const { transfer, source } = this.#parts;
    const { algorithm } = splitDigest(source.digest);
    const { position, digester, unwritten } = left ?? {
      position: 0,
      digester: new Digester(algorithm),
    };
    const isBehind = transfer.position === position + (unwritten?.length ?? 0);
    if (isBehind && this.#chunks) {
      transfer.goOn(transfer.position);
      return { position, digester, unwritten, chunks: this.#chunks };
    }
    await this.#chunks?.return(undefined);
    transfer.goOn(position);
    return { position, digester, chunks: transfer.chunks() };
  }

  /** Asked by the first connection when it has brought its piece. */
  async #next(): Promise<ByteRange | undefined> {
    for (;;) {
      const changed = this.#filling?.changed;
      if (this.#filling?.fault) throw this.#filling.fault.error;
      const piece = this.#hand(this.#parts.transfer);
      if (piece || this.#filling?.isBusy !== true) return piece;
      await changed;
    }
  }

  /** The earliest piece that is missing and not on its way. */
  #hand(transfer: Transfer): ByteRange | undefined {
    this.#filling?.remove(transfer);
    const free = this.#free(this.#parts.transfer.size ?? 0);
    const [first] = free;
    if (!first) return undefined;
    const left = free.reduce((sum, { start, end }) => sum + end - start, 0);
    const length = this.#pieceOf(left);
    const end =
      first.end - first.start < length + this.#large * PIECE.share
        ? first.end
        : first.start + length;
    this.#filling?.note(transfer, { start: first.start, end });
    return { start: first.start, end };
  }

  #pieceOf(left: number): number {
    // One connection brings all that is left at once.
    if (this.#wanted === 1 && !this.#mayGrow) return left;
    const byTime = (this.#growth.rate / Math.max(1, this.#connections)) * PIECE.ms;
    const fair = left / (2 * Math.max(this.#wanted, 2));
    const most = Math.min(byTime || this.#large, fair, this.#large);
    return Math.ceil(Math.max(this.#large * PIECE.share, most));
  }

  #free(size: number): ByteRange[] {
    return this.#filling?.free({ start: 0, end: size }) ?? [];
  }

  get #connections(): number {
    return 1 + this.#extras.size;
  }

  #came(transfer: Transfer, bytes: number): void {
    this.#rates.came(transfer, bytes);
    this.#grow(bytes);
  }

  #grow(bytes: number): void {
    const { connections, queue } = this.#parts.source;
    if (!this.#mayGrow || this.#isOver || this.#filling?.fault) return;
    if (!this.#parts.transfer.isRange) return this.#shrink({ isForGood: true });
    const now = performance.now();
    if (connections.areMeasured) {
      // What a connection brings is told from its first byte on.
      if ([...this.#extras].some(({ hasAnswered }) => !hasAnswered))
        return this.#growth.restart(now);
      const verdict = this.#growth.look(bytes, this.#connections, now);
      if (verdict === 'less') return this.#shrink({ isForGood: true });
      if (verdict === undefined) return;
    }
    const { demand, transfer } = this.#parts;
    const tried = connections.areMeasured ? 2 * this.#connections : Infinity;
    const most = demand.isPaced ? 1 : Math.min(connections.most, tried);
    while (this.#connections < most && transfer.isRange && queue.hasPlaceForExtra(demand)) {
      if (!this.#add()) return;
    }
  }

  /** False when nothing is left that it could bring. */
  #add(): boolean {
    const { source, demand } = this.#parts;
    const extra = new Extra(source, demand, this.#parts.transfer.size);
    this.#wanted = this.#connections + 1;
    const piece = this.#hand(extra.transfer);
    if (!piece) return false;
    this.#extras.add(extra);
    // Before the next one looks for a place.
    extra.transfer.turn.line();
    if (!this.#timer) {
      this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
      // What all bring is measured from now on.
      this.#look();
    }
    extra.ended = this.#bring(extra, piece).finally(() => {
      this.#extras.delete(extra);
      extra.transfer.discard();
      this.#filling?.remove(extra.transfer);
      this.#grow(0);
    });
    return true;
  }

  async #bring(extra: Extra, piece: ByteRange): Promise<void> {
    const { transfer } = extra;
    const filling = this.#filling;
    if (!(await filling?.spread(this.#parts.transfer.size ?? 0))) return;
    try {
      transfer.follow(async () => (this.#mayStay(extra) ? this.#hand(transfer) : undefined));
      if (!(await transfer.start(piece.start, piece.end))) return this.#shrink({ isForGood: true });
      for await (const chunk of transfer.chunks()) {
        extra.came();
        if (!(await filling?.keep(transfer, chunk)) || transfer.turn.isRevoked) return;
        this.#came(transfer, chunk.length);
      }
    } catch (error) {
      this.#judge(error);
    }
  }

  #mayStay(extra: Extra): boolean {
    const isFirst = [...this.#extras].indexOf(extra) < this.#wanted - 1;
    return isFirst && !this.#isOver && !this.#filling?.fault;
  }

  /** What was left of its piece is the next one's. */
  #judge(error: unknown): void {
    if (this.#isOver || this.#parts.demand.signal.aborted) return;
    const { upstream, metrics } = this.#parts.source;
    metrics.downloadResumes.inc({ upstream: upstream.name });
    this.#breaks += 1;
    if (isRefusal(error) || this.#breaks > MAX_BREAKS) {
      this.#shrink({ isForGood: isRefusal(error) });
    }
  }

  /** One fewer, and no more beside those. */
  #shrink({ isForGood }: { isForGood: boolean }): void {
    this.#mayGrow = false;
    this.#wanted = Math.max(1, this.#connections - 1);
    if (isForGood && this.#wanted === 1) this.#parts.source.connections.fallBack();
  }

  /** One that is slow is left alone while nobody who reads from the start waits for what it has. */
  #look(): void {
    const now = performance.now();
    const slow = this.#rates.look(now, () => this.#answering);
    const earliest = this.#earliest;
    for (const extra of this.#extras) {
      const isInTheWay = extra.transfer === earliest && slow.includes(earliest);
      if (isInTheWay || extra.isStalled(now)) extra.abort();
    }
  }

  get #answering(): Transfer[] {
    const extras = [...this.#extras].filter(({ hasAnswered }) => hasAnswered);
    return [this.#parts.transfer, ...extras.map(({ transfer }) => transfer)];
  }

  /** The connection that brings what a reader from the start waits for. */
  get #earliest(): Transfer | undefined {
    const startOf = (transfer: Transfer): number => this.#filling?.of(transfer)?.start ?? Infinity;
    return this.#answering.toSorted((one, other) => startOf(one) - startOf(other))[0];
  }
}

/** It takes no more connections, or answers something else than the range. */
function isRefusal(error: unknown): boolean {
  if (error instanceof IntegrityError) return true;
  if (!(error instanceof UpstreamError)) return false;
  return error.status !== undefined || error.fault === 'bad-response';
}
