import { recencyKey, unitInRecency, type Tables } from './tables.ts';

/** Of one write, so that it stays short. */
const AHEAD_AT_ONCE = 1_000;

/**
 * Writes last pulls of units that exist. None may lie ahead of the clock: what one that ran ahead has
 * stamped would never be the oldest, and what is pulled after it was set back would be older than all.
 */
export async function recordAccess(
  tables: Tables,
  pulls: ReadonlyMap<string, number>,
  now: number,
): Promise<void> {
  const times = new Map<string, number>();
  const ahead = { gt: recencyKey(now + 1, ''), limit: AHEAD_AT_ONCE };
  for await (const key of tables.recency.keys(ahead)) times.set(unitInRecency(key), now);
  for (const [unit, time] of pulls) times.set(unit, Math.min(time, now));
  const units = [...times.keys()];
  const known = await tables.access.getMany(units);
  // Not synced: a loss costs no image.
  await tables.write(
    (batch) => {
      for (const [position, unit] of units.entries()) {
        const earlier = known[position];
        const time = times.get(unit) ?? now;
        // The unit may have been evicted meanwhile.
        if (earlier === undefined || (earlier >= time && earlier <= now)) continue;
        tables.putAccess(batch, unit, time, earlier);
      }
    },
    { sync: false },
  );
}
