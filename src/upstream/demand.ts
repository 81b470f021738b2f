import type { Purpose } from '../observe/declarations.ts';

/** The order of requests that wait for one place. `abandoned`: a download that its client left. */
export const PRIORITY = {
  interactive: 30,
  warm: 25,
  hydration: 20,
  abandoned: 15,
  sync: 10,
  scrub: 0,
} as const;

/**
 * Who wants an answer or a transfer. It is read at every decision and never copied, for it changes
 * while the work is under way: a client that joins a background transfer makes it interactive.
 */
export interface Demand {
  readonly priority: number;
  /** Aborts when nobody wants it any more. */
  readonly signal?: AbortSignal | undefined;
  /** Told of each part of a long answer, which is not silent then. */
  readonly advanced?: () => void;
  /** The client that asks, so that turns are fair between clients; background work has none. */
  readonly client?: string | undefined;
  /** Wants to know what the registry says now: what is known of a tag, here or at a parent, is not enough. */
  readonly isAnew?: boolean;
}

/** A client waits. */
export const INTERACTIVE: Demand = { priority: PRIORITY.interactive };

/** Nobody waits: for images that were pulled in part or only polled, and tags answered meanwhile. */
export const HYDRATION: Demand = { priority: PRIORITY.hydration };

/** Somebody waits for whole images before any client asks, and has set a deadline. */
export const WARM: Demand = { priority: PRIORITY.warm };

/** For what a site must hold before anybody asks. */
export const SYNC: Demand = { priority: PRIORITY.sync };

/** For what was held and is damaged. */
export const SCRUB: Demand = { priority: PRIORITY.scrub };

/** This client waits; `undefined` where nothing is known of it. */
export function demandOf(client: string | undefined): Demand {
  return { ...INTERACTIVE, client };
}

/** The purpose in metrics; a download that its client left counts as a client's. */
export function purposeOf({ priority }: Demand): Purpose {
  if (priority === PRIORITY.warm) return 'warm';
  if (priority === PRIORITY.hydration) return 'hydration';
  if (priority === PRIORITY.sync) return 'sync';
  return priority === PRIORITY.scrub ? 'healing' : 'client';
}

/** Background work leaves the reserve of a quota to what is interactive. */
export function isInteractive({ priority }: Demand): boolean {
  return priority >= PRIORITY.interactive;
}
