import type { Ask } from './admin-client.ts';
import { AdminError, type CommandOptions, type StoreContext } from './command-context.ts';
import { ProgressLine } from './progress-line.ts';
import { TEXTS } from './texts.ts';

const POLL_MS = 500;

interface Started {
  readonly startedAt: number;
}

/** Of a verification, a run of sync or a warm: how far it is, and the report of the last one. */
export interface RunState<Progress extends Started, Report extends Started> {
  /** Where several may run: which one it is, to be looked at under its path. */
  readonly id?: string;
  readonly running?: Progress;
  readonly last?: Report;
}

export interface FollowParts<Progress extends Started, Report extends Started> {
  /** Begins a run, or joins the one that runs. */
  readonly start: () => Promise<RunState<Progress, Report>>;
  readonly look: () => Promise<RunState<Progress, Report>>;
  /** Called between two looks. */
  readonly wait: (progress: Progress) => Promise<unknown>;
}

/** Follows a run to its end; `undefined` when it is gone without a report: the server restarted. */
export async function followRun<Progress extends Started, Report extends Started>({
  start,
  look,
  wait,
}: FollowParts<Progress, Report>): Promise<Report | undefined> {
  let state = await start();
  const startedAt = state.running?.startedAt;
  while (state.running && state.running.startedAt === startedAt) {
    await wait(state.running);
    state = await look();
  }
  const { last } = state;
  // A run that ended before the answer is the last one; a later one means that this one was lost.
  return last && last.startedAt >= (startedAt ?? 0) ? last : undefined;
}

export interface ShowParts<Progress> {
  readonly path: string;
  readonly body?: object;
  /** `run`, `verification` or `warm`. */
  readonly noun: string;
  /** Told which one it is, where several may run. */
  readonly begun?: (id: string) => void;
  readonly describe: (progress: Progress) => string;
  /** From 0 to 1. */
  readonly shareOf?: (progress: Progress) => number | undefined;
}

/** Follows a run on a progress line, if any. Throws `AdminError` when it ends without a report. */
export async function showRun<Progress extends Started, Report extends Started>(
  ask: Ask,
  { path, body, noun, begun: tell, describe, shareOf }: ShowParts<Progress>,
  { options, context }: { options: CommandOptions; context: StoreContext },
): Promise<Report> {
  const { pause } = context;
  const line = ProgressLine.of(options, context);
  type State = RunState<Progress, Report>;
  let place = path;
  try {
    const report = await followRun<Progress, Report>({
      start: async () => {
        const begun = (await ask(path, { method: 'POST', ...(body && { body }) })) as State;
        if (begun.id !== undefined) {
          place = `${path}/${begun.id}`;
          tell?.(begun.id);
        }
        return begun;
      },
      look: async () => (await ask(place)) as State,
      wait: async (running) => {
        line.show(describe(running), shareOf?.(running));
        await pause(POLL_MS);
      },
    });
    if (report) return report;
  } finally {
    line.end();
  }
  throw new AdminError(TEXTS.noReport({ run: noun }));
}
