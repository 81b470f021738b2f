import type { Bandwidth } from '../src/upstream/bandwidth.ts';
import type { ImageScope } from './image-scope.ts';
import type { SyncParts } from './parts.ts';
import type { MakePlan, ResolvedPlan } from './planner.ts';
import { PASSING_ANSWERS, Retries } from './retries.ts';
import { RunProgress } from './run-progress.ts';
import { Runner, type Fetched } from './runner.ts';

/** The work of a run at one upstream. It may outlast its run, and goes on in the next one. */
export interface UpstreamWork {
  readonly upstream: string;
  readonly progress: RunProgress;
  isMissing: boolean;
  readonly made: Promise<ResolvedPlan & { readonly done: Fetched }>;
  end?: PromiseSettledResult<ResolvedPlan & { readonly done: Fetched }>;
}

export interface UpstreamWorkParts extends SyncParts {
  readonly cap: Bandwidth | undefined;
  /** All others stay as they are. */
  readonly only?: ImageScope | undefined;
  /** Called when the plan is made. */
  readonly planned: () => void;
}

/** Plans what is wanted of one upstream, and fetches it as soon as it is known what an image lacks. */
export function beginUpstreamWork(
  upstream: string,
  make: MakePlan,
  { planned, ...parts }: UpstreamWorkParts,
): UpstreamWork {
  const { timer, signal } = parts;
  const progress = new RunProgress(timer);
  const gaveUp = (): void => {
    work.isMissing = true;
  };
  // An upstream that cannot be reached keeps no other one waiting: the next run asks it again.
  const retries = new Retries({ timer, signal, faults: PASSING_ANSWERS, gaveUp });
  const runner = new Runner(upstream, { ...parts, progress, gaveUp });
  const planAndFetch = async (): Promise<ResolvedPlan & { readonly done: Fetched }> => {
    try {
      const plan = await make({ retries, listener: runner });
      planned();
      return { ...plan, done: await runner.fetched(plan) };
    } finally {
      await runner.idle();
    }
  };
  const made = planAndFetch();
  const work: UpstreamWork = { upstream, progress, isMissing: false, made };
  void Promise.allSettled([made]).then(([end]) => {
    work.end = end;
  });
  return work;
}
