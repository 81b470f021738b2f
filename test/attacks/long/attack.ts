import type { ExecutionContext } from 'ava';

/** Gives back what an attack has opened, whatever came of it. */
export type Scope = Pick<ExecutionContext, 'teardown'>;

/** What was seen, in a line, and whether it is within the bounds that the attack names. */
export interface Verdict {
  readonly holds: boolean;
  readonly seen: string;
}

/** A kind of attack at its full size, against a server in a process of its own. */
export interface Attack {
  readonly claim: string;
  run(scope: Scope): Promise<Verdict>;
}
