import type { BundleDraft } from '../api/bundle-api.ts';
import { loadConfig } from '../config/load.ts';
import { digestOf } from '../oci/digest.ts';
import { countImages } from '../../sync/bundle/counted-images.ts';
import { cutBundle } from '../../sync/bundle/cut-bundle.ts';
import { formatLayoutIndex } from '../../sync/bundle/layout-index.ts';
import type { SigningKey } from '../../sync/bundle/signing-key.ts';
import { withAdmin, type Ask } from './admin-client.ts';
import { withDraft, type ReadyDraft } from './bundle-draft.ts';
import { formatCreated, type CreateReport } from './bundle-created.ts';
import { readCarriedFiles, readInventoryFile, type CarriedFile } from './bundle-input.ts';
import { BundlePacking } from './bundle-packing.ts';
import { BundleTarget, type TargetOptions } from './bundle-target.ts';
import { EXIT_CODE, print, type CommandOptions, type StoreContext } from './command-context.ts';
import { roundSize } from './format.ts';
import { readSigningKey } from './key-files.ts';
import { ProgressLine } from './progress-line.ts';
import { countRebuilt } from './rebuilt-layers.ts';
import { withLock } from './sync-lock.ts';
import { TEXTS } from './texts.ts';
import { untilStopped } from './until-stopped.ts';

interface CreateOptions extends CommandOptions, TargetOptions {
  readonly lock?: string;
  readonly for?: string;
  readonly key: string;
  readonly split?: number;
  readonly parity?: boolean;
  readonly with?: readonly string[];
}

/** What does not go together of where the bundle goes. */
export function checkCreate(_: readonly string[], { out, to }: TargetOptions): string | undefined {
  return (out === undefined) === (to === undefined) ? TEXTS.bundleOutOrTo : undefined;
}

/**
 * Makes a bundle of what a draft of the server has, and signs it: the private key stays here. 1 where
 * something could not be fetched; then there is no bundle. What a create that fails has written is removed.
 */
export async function createBundle(
  images: readonly string[],
  options: CreateOptions,
  context: StoreContext,
): Promise<number> {
  const { cwd } = context;
  const { config } = loadConfig({ file: options.config, ...context });
  // All that may be wrong with the command is told before anything is fetched.
  const key = readSigningKey(options.key, cwd);
  await using target = BundleTarget.choose(options, cwd);
  const inventory =
    options.for === undefined ? undefined : await readInventoryFile(options.for, cwd);
  const files = await readCarriedFiles(options.with ?? [], cwd);
  const report = await untilStopped(config, context, async (signal) =>
    withLock(options.lock, cwd, async (lock) =>
      withAdmin(config, context, async (ask) => {
        const wish = { ...(images.length > 0 && { images }), lock, inventory };
        const parts = { key, target, files, signal, options, context };
        return new BundleMaking(parts, ask).run(wish);
      }),
    ),
  );
  print(options, context, report, (columns) => formatCreated(report, columns));
  return report.problems.length === 0 ? EXIT_CODE.ok : EXIT_CODE.failed;
}

interface MakingParts {
  readonly key: SigningKey;
  readonly target: BundleTarget;
  readonly files: readonly CarriedFile[];
  readonly signal: AbortSignal;
  readonly options: CreateOptions;
  readonly context: StoreContext;
}

/** How often the progress of writing is shown. */
const SHOW_MS = 200;

/** One bundle, from the draft of the server to its parts. */
class BundleMaking {
  readonly #parts: MakingParts;
  readonly #ask: Ask;

  constructor(parts: MakingParts, ask: Ask) {
    this.#parts = parts;
    this.#ask = ask;
  }

  async run(wish: object): Promise<CreateReport> {
    const { files, ...shown } = this.#parts;
    const carried = files.map(({ name, digest, size }) => ({ name, digest, size }));
    const make = async (draft: ReadyDraft): Promise<CreateReport> => this.#make(draft);
    return withDraft(this.#ask, { ...wish, files: carried }, shown, make);
  }

  async #make({ report, openBlob }: ReadyDraft): Promise<CreateReport> {
    const { key } = this.#parts;
    const { draft, there, problems, unasked, refused } = report;
    const about = { key: key.public.id, ...(there && { there }), problems, unasked, refused };
    if (!draft) return { ...about, parts: [] };
    const { series, number, site, images, blobs, files, released } = draft;
    const rebuilt = countRebuilt(draft.recipes);
    const isEmpty = images.length + files.length === 0;
    return {
      ...about,
      series,
      ...(!isEmpty && { number }),
      ...(site !== undefined && { site }),
      ...countImages(images),
      blobs: blobs.length,
      bytes: blobs.reduce((sum, { size }) => sum + size, 0),
      ...(rebuilt && { rebuilt }),
      files: files.map(({ name }) => name),
      released,
      parts: isEmpty ? [] : await this.#pack(draft, openBlob),
    };
  }

  async #pack(
    draft: BundleDraft,
    openBlob: ReadyDraft['openBlob'],
  ): Promise<CreateReport['parts']> {
    const { key, target, files, signal, options, context } = this.#parts;
    const index = formatLayoutIndex(draft.images);
    const { split, parity = false } = options;
    const described = { digest: digestOf(index), size: index.length };
    const manifest = cutBundle({ format: 1, ...draft, index: described, hasParity: parity }, split);
    await target.requireRoom(manifest);
    const line = ProgressLine.of(options, context);
    const recipes = draft.recipes?.map(({ recipe }) => recipe) ?? [];
    const carried = [...draft.blobs, ...recipes, ...draft.files];
    const total = carried.reduce((sum, { size }) => sum + size, 0);
    let [done, shownAt] = [0, 0];
    const wrote = (bytes: number): void => {
      done += bytes;
      if (context.now() - shownAt < SHOW_MS) return;
      shownAt = context.now();
      line.show(
        TEXTS.bundleWriting({ done: roundSize(done), all: roundSize(total) }),
        done / total,
      );
    };
    try {
      return await new BundlePacking({
        manifest,
        key,
        index,
        files: new Map(files.map(({ name, path }) => [name, path])),
        target,
        openBlob,
        signal,
        wrote,
      }).run();
    } finally {
      line.end();
    }
  }
}
