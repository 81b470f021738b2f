import { setTimeout as pause } from 'node:timers/promises';

const DEADLINE_MS = 60_000;

/** Waits for what only a look can tell: the state of another process. Rejects when it does not come. */
export async function until<T>(
  what: string,
  look: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await pause(25);
  }
}
