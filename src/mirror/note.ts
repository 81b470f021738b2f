import type { Log } from '../observe/log.ts';

/**
 * Waits for a fact to be written down. A catalog that cannot write takes nothing from the client
 * that brought the fact: the operator is told, and it will be learnt again.
 */
export async function note(log: Log, fact: Promise<void>): Promise<void> {
  try {
    await fact;
  } catch (err) {
    log.error({ err }, 'the catalog could not be written');
  }
}
