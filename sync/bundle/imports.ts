import PQueue from 'p-queue';
import { Readable } from 'node:stream';
import type {
  BundlesReport,
  BundleState,
  ImportReport,
  IntakeApi,
  ReceiveOptions,
  UntakenImage,
} from '../../src/api/bundle-api.ts';
import type { Config } from '../../src/config/config.ts';
import type { Log } from '../../src/observe/log.ts';
import type { Metrics } from '../../src/observe/metrics.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { RegistryError } from '../../src/oci/errors.ts';
import { splitTarget } from '../../src/oci/reference.ts';
import { Application, type ApplicationParts } from './application.ts';
import { BundleError, type BundleErrorCode } from './bundle-error.ts';
import type { BundleManifest } from './bundle-manifest.ts';
import { BundleFiles } from './bundle-files.ts';
import { PARITY_PART, countParts } from './content.ts';
import { cutEntries, Intake, type IntakeParts } from './intake.ts';
import { PacedSource, type PaceParts } from './paced-source.ts';
import { MadeLayers } from './made-layers.ts';
import { readPart, type PartHead, type PartVisitor } from './part-reader.ts';
import type { OpenBundle } from './site-state.ts';
import { TEXTS } from './texts.ts';
import { TrustedKey } from './trusted-key.ts';
import { collected } from './young-buffers.ts';

export interface ImportsParts extends ApplicationParts, IntakeParts, Pick<PaceParts, 'timer'> {
  readonly storePath: string;
  readonly log: Log;
  readonly metrics: Metrics;
  /** By the configuration as it is now. */
  readonly config: () => Pick<Config, 'bundles' | 'upstreams'>;
}

type Trusted = Config['bundles']['trust'][string] & { readonly name: string };

/** Parts that are being imported or wait for it: each has a connection. */
const MAX_WAITING = 8;

/** How the admin API answers what is wrong with a bundle. */
const STATUS: Readonly<Partial<Record<BundleErrorCode, number>>> = {
  number: 409,
  needs: 409,
  room: 507,
};

/**
 * Takes bundles in, one part at a time: each is verified on its way into the store, in any order; when the
 * last one is here, all of the bundle is put in force at once. What is missing or wrong is told before
 * anything is written that a client could see. Memory: the manifest, and a piece of content.
 */
export class Imports implements IntakeApi {
  readonly #parts: ImportsParts;
  readonly #queue = new PQueue({ concurrency: 1 });
  /** Of bundles of which parts were imported since the start. */
  readonly #intakes = new Map<Digest, Intake>();
  readonly #files: BundleFiles;
  readonly #stop = new AbortController();

  constructor(parts: ImportsParts) {
    this.#parts = parts;
    this.#files = new BundleFiles(parts);
    // Those of earlier runs count too.
    const { applied } = parts.state.current;
    const last = Math.max(...applied.map(({ appliedAt }) => appliedAt));
    if (applied.length > 0) parts.metrics.bundles.appliedAt.set(last / 1000);
  }

  get report(): BundlesReport {
    const { applied, open } = this.#parts.state.current;
    return { awaited: open.map(describeOpen), applied };
  }

  get untaken(): readonly UntakenImage[] {
    const { refused } = this.#parts.state.current;
    return Object.entries(refused)
      .map(([image, arrival]) => ({ image, ...arrival }))
      .toReversed();
  }

  async receive(part: AsyncIterable<Uint8Array>, options: ReceiveOptions): Promise<BundleState> {
    if (this.#queue.size >= MAX_WAITING) {
      const message = TEXTS.tooManyImports({ most: MAX_WAITING });
      throw new RegistryError('TOOMANYREQUESTS', { message });
    }
    const { log, metrics } = this.#parts;
    try {
      const state = await this.#queue.add(async () => this.#receive(part, options));
      const { id, series, number, awaited, report } = state;
      for (const refused of report?.refused ?? []) {
        log.warn({ series, number, ...refused }, 'admission refuses an image of a bundle');
      }
      if (report) log.info({ series, number, id, ...countsOf(report) }, 'bundle imported');
      else log.info({ series, number, id, awaited: awaited.length }, 'part of a bundle imported');
      metrics.bundles.imported.inc({ result: report ? 'applied' : 'awaited' });
      return state;
    } catch (error) {
      metrics.bundles.imported.inc({ result: 'refused' });
      const refusal = error instanceof BundleError ? error : ofDisk(error);
      if (!refusal) throw error;
      const { code, message } = refusal;
      log.warn({ code, reason: message }, 'bundle refused');
      const status = STATUS[code] ?? 422;
      throw new RegistryError('UNSUPPORTED', { status, message, detail: { code }, cause: refusal });
    }
  }

  async #receive(part: AsyncIterable<Uint8Array>, options: ReceiveOptions): Promise<BundleState> {
    const { blobs, metrics } = this.#parts;
    if (blobs.isReadOnly) throw new BundleError('room', TEXTS.cannotKeep);
    const trusted = this.#trusted;
    let intake: Intake | undefined;
    let isHere = false;
    const isHindering = (): boolean => this.#queue.size > 0;
    // Of what is refused the sender still reads the answer.
    const chunks = part instanceof Readable ? part.iterator({ destroyOnReturn: false }) : part;
    const visitor: PartVisitor = {
      keys: trusted.map(({ key }) => key),
      admit: async (admitted) => {
        this.#stop.signal.throwIfAborted();
        intake = await this.#admit(admitted, { trusted, ...options });
        const { received = [] } = this.#parts.state.findOpen(admitted.id) ?? {};
        isHere = received.includes(admitted.part);
        this.#parts.step('bundle.admitted');
      },
      take: async (slice, bytes) => {
        this.#stop.signal.throwIfAborted();
        // Only its trailer proves a piece: a bad copy of a part must not undo a good one.
        if (slice.isWhole || !isHere) await intake?.take(slice, bytes);
        metrics.bundles.bytes.inc(slice.end - slice.start);
        this.#parts.step('bundle.taken');
      },
    };
    const source = new PacedSource(collected(chunks), { timer: this.#parts.timer, isHindering });
    const head = await readPart(source, visitor).catch(async (error: unknown) => {
      await intake?.settled().catch(() => undefined);
      throw error;
    });
    await intake?.settled();
    const open = await this.#noteReceived(head);
    this.#parts.step('bundle.received');
    const state = describeOpen(open);
    if (!intake || state.awaited.length > 0) return state;
    const mayBringFiles = trusted.some(
      ({ key, may }) => key.id === head.keyId && may.includes('trust'),
    );
    return { ...state, report: await this.#apply(head, { intake, mayBringFiles }) };
  }

  get #trusted(): (Trusted & { readonly key: TrustedKey })[] {
    const keys = Object.entries(this.#parts.config().bundles.trust);
    if (keys.length === 0) throw new BundleError('trust', TEXTS.noTrust);
    return keys.map(([name, trust]) => ({ ...trust, name, key: TrustedKey.read(trust.file.pem) }));
  }

  /** Before any content is read. */
  async #admit(
    { id, manifest, part, keyId }: PartHead,
    { trusted, allowOlder }: ReceiveOptions & { trusted: (Trusted & { key: TrustedKey })[] },
  ): Promise<Intake> {
    const { state } = this.#parts;
    if (part === PARITY_PART) throw new BundleError('part', TEXTS.parityAlone);
    const keys = trusted.filter(({ key }) => key.id === keyId);
    if (manifest.images.length > 0 && !keys.some(({ may }) => may.includes('images'))) {
      const key = keys.map(({ name }) => name).join(', ');
      throw new BundleError('trust', TEXTS.mayBringNo({ key, what: 'images' }));
    }
    const { series, number } = manifest;
    const last = state.lastOf({ series, key: keyId });
    const isOlder = last !== undefined && last.id !== id && number <= last.number;
    if (isOlder && !allowOlder) {
      throw new BundleError('number', TEXTS.older({ number, last: last.number }));
    }
    this.#requireRegistries(manifest);
    const intake = this.#intakes.get(id) ?? new Intake(this.#parts, manifest);
    const known = state.findOpen(id);
    this.#intakes.set(id, intake);
    try {
      await this.#requireNeeds(manifest, intake);
      await this.#requireRoom(await intake.countLacking(manifest, known?.received ?? []));
    } catch (error) {
      // Of what is refused nothing is kept from being evicted.
      if (!known) this.#forget(id);
      throw error;
    }
    const open = known ?? { ...aboutOf(id, manifest), received: [] };
    for (const forgotten of await state.record(open)) this.#forget(forgotten.id);
    return intake;
  }

  #requireRegistries({ images }: BundleManifest): void {
    const { upstreams } = this.#parts.config();
    const names = new Set(images.map(({ name }) => splitTarget(name).upstream));
    const unknown = [...names].filter((name) => !Object.hasOwn(upstreams, name));
    if (unknown.length === 0) return;
    throw new BundleError('needs', TEXTS.unknownRegistries({ names: listSome(unknown) }));
  }

  async #requireNeeds({ needs }: BundleManifest, intake: Intake): Promise<void> {
    const missing: string[] = [];
    for (const { digest, size } of needs) {
      const need = { digest: digest as Digest, size };
      intake.lease(need.digest);
      if (!(await intake.isHeld(need))) missing.push(digest);
    }
    if (missing.length === 0) return;
    const [count, digests] = [missing.length, listSome(missing)];
    throw new BundleError('needs', TEXTS.needsMissing({ count, digests }));
  }

  async #requireRoom(bytes: number): Promise<void> {
    if (await this.#parts.budget.canHold(bytes)) return;
    const reason = TEXTS.kept;
    throw new BundleError('room', TEXTS.noRoomFor({ bytes, reason }));
  }

  /**
   * What it brought is on the disk; what is cut and has all its pieces is put together. The last part is
   * remembered only with the bundle in force: until then it is awaited, and comes again.
   */
  async #noteReceived({ id, manifest, part }: PartHead): Promise<OpenBundle> {
    const { state } = this.#parts;
    const { received } = state.findOpen(id) ?? { received: [] };
    const now = [...new Set([...received, part])].toSorted((a, b) => a - b);
    const open = { ...aboutOf(id, manifest), received: now };
    for (const [entry, parts] of cutEntries(manifest)) {
      if (!parts.includes(part) || !parts.every((each) => now.includes(each))) continue;
      try {
        await this.#intakes.get(id)?.complete(entry, parts);
      } catch (error) {
        await state.record({ ...open, received: now.filter((each) => !parts.includes(each)) });
        throw error;
      }
    }
    const isWhole = now.length === open.parts;
    await state.record({ ...open, received: isWhole ? now.filter((each) => each !== part) : now });
    return open;
  }

  async #apply(
    { id, manifest, keyId }: PartHead,
    { intake, mayBringFiles }: { intake: Intake; mayBringFiles: boolean },
  ): Promise<ImportReport> {
    const { state, step, metrics, now } = this.#parts;
    try {
      await new MadeLayers(this.#parts, manifest, intake).make();
      const application = new Application(this.#parts, manifest);
      await application.check();
      // A trust root that it brings counts for its own images.
      const placed = mayBringFiles ? await this.#files.place(manifest.files) : [];
      step('bundle.placed');
      const applied = await application.apply();
      const { series, number } = manifest;
      const over = await state.conclude({ series, key: keyId, number, id, appliedAt: now() });
      for (const older of over) this.#forget(older.id);
      step('bundle.concluded');
      if (mayBringFiles) await this.#files.discard(manifest.files);
      metrics.bundles.appliedAt.set(now() / 1000);
      const refused = mayBringFiles ? [] : manifest.files.map(({ name }) => name);
      return { appliedAt: now(), ...applied, ...intake.came, files: placed, refusedFiles: refused };
    } catch (error) {
      // Whatever is gone comes again.
      const isGone = error instanceof BundleError && error.code === 'content';
      if (isGone) await state.record({ ...aboutOf(id, manifest), received: [] });
      throw error;
    } finally {
      this.#forget(id);
    }
  }

  #forget(id: Digest): void {
    this.#intakes.get(id)?.close();
    this.#intakes.delete(id);
  }

  /** A part that is under way is broken off, and is to be imported again. */
  stop(): void {
    this.#stop.abort(new Error(TEXTS.stopping));
  }

  /** Resolves, after `stop`, when nothing is under way any more. */
  async closed(): Promise<void> {
    await this.#queue.onIdle();
    for (const id of this.#intakes.keys()) this.#forget(id);
  }
}

function aboutOf(id: Digest, manifest: BundleManifest): Omit<OpenBundle, 'received'> {
  const { series, number, images } = manifest;
  return { id, series, number, images: images.length, parts: countParts(manifest) };
}

function describeOpen({ parts, received, ...about }: OpenBundle): BundleState {
  const all = Array.from({ length: parts }, (_, place) => place + 1);
  return { ...about, received, awaited: all.filter((part) => !received.includes(part)) };
}

function countsOf({ images, moved, blobs, bytes, released, refused }: ImportReport) {
  const counts = { images, moved: moved.length, blobs, bytes, released: released.length };
  return { ...counts, refused: refused.length };
}

/** What the disk says to what is written, as a refusal. */
function ofDisk(error: unknown): BundleError | undefined {
  const { syscall, message: reason } = error as NodeJS.ErrnoException;
  if (syscall === undefined) return undefined;
  return new BundleError('room', TEXTS.diskRefuses({ reason }), { cause: error });
}

/** Few of many. */
function listSome(names: readonly string[]): string {
  const told = names.slice(0, 5).join(', ');
  return names.length > 5 ? `${told}, …` : told;
}
