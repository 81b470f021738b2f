import { setTimeout as pause } from 'node:timers/promises';

const STEP_MS = 5;

/**
 * Waits for what only a look can tell, and resolves with what the look gave. It looks again and
 * again but not at every turn: what is waited for needs the processor. Rejects when it does not come.
 */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  { withinMs = 60_000 }: { withinMs?: number } = {},
): Promise<Exclude<T, undefined | false | null>> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found) return found as Exclude<T, undefined | false | null>;
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await pause(STEP_MS);
  }
}
