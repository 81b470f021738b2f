import type { Readable } from 'node:stream';
import type { BlobRange, DraftReport, DraftState } from '../api/bundle-api.ts';
import type { Ask } from './admin-client.ts';
import { AdminError, type CommandOptions, type StoreContext } from './command-context.ts';
import { showRun } from './follow-run.ts';
import { describeProgress } from './sync-format.ts';
import { TEXTS } from './texts.ts';

/** What a server made of a wish, and has until it is ended. */
export interface ReadyDraft {
  readonly report: DraftReport;
  readonly openBlob: (digest: string, range: BlobRange) => Promise<AsyncIterable<Uint8Array>>;
}

const DRAFTS = '/api/v1/bundles/drafts';

/**
 * Has the server make a draft, with its progress on a line, and ends it when what is run with it has ended.
 * Once the signal has aborted nothing more is asked but that.
 */
export async function withDraft<T>(
  askAnyway: Ask,
  wish: object,
  { signal, ...shown }: { signal: AbortSignal; options: CommandOptions; context: StoreContext },
  run: (draft: ReadyDraft) => Promise<T>,
): Promise<T> {
  const ask: Ask = async (path, request) => {
    signal.throwIfAborted();
    return askAnyway(path, { signal, ...request });
  };
  let place = '';
  try {
    const report = await showRun<NonNullable<DraftState['running']>, DraftReport>(
      ask,
      {
        path: DRAFTS,
        body: wish,
        noun: 'draft',
        begun: (id) => {
          place = `${DRAFTS}/${id}`;
        },
        describe: describeProgress,
        shareOf: ({ bytes }) => (bytes.total === 0 ? undefined : bytes.done / bytes.total),
      },
      shown,
    );
    return await run({
      report,
      openBlob: async (digest, { start, end }) => {
        const path = `${place}/blobs/${digest}?start=${start}&end=${end}`;
        return tellingBreak((await ask(path, { isBinary: true })) as Readable, digest);
      },
    });
  } finally {
    // It would end by itself.
    if (place !== '') await askAnyway(place, { method: 'DELETE' }).catch(() => undefined);
  }
}

/** The server breaks off where it finds a blob damaged, or is stopped. */
async function* tellingBreak(bytes: Readable, digest: string): AsyncGenerator<Uint8Array, void> {
  try {
    yield* bytes as AsyncIterable<Uint8Array>;
  } catch (cause) {
    throw new AdminError(TEXTS.bundleBroken({ digest }), { cause });
  }
}
