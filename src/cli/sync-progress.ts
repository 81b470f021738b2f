import { formatDuration } from '../config/duration.ts';
import { count } from './count.ts';
import { roundSize } from './size.ts';
import type { SyncProgress } from '../api/sync-api.ts';

/** How far a run is: `3 of 12 images, 1.20 GiB of 4.00 GiB, 20.0 MiB/s, 2m30s left`. */
export function describeProgress(progress: SyncProgress): string {
  const { phase, until, images, bytes, bytesPerSecond, secondsLeft } = progress;
  if (phase === 'planning') return 'planning';
  const failed = images.failed === 0 ? '' : `, ${images.failed} failed`;
  const far = `${images.done} of ${count(images.total, 'image')}${failed}, ${roundSize(bytes.done)} of ${roundSize(bytes.total)}`;
  if (phase === 'waiting') {
    const window = until === undefined ? '' : ` at ${new Date(until).toISOString()}`;
    return `waiting for a window to open${window}: ${far}`;
  }
  const left =
    secondsLeft === undefined ? '' : `, ${formatDuration(Math.ceil(secondsLeft) * 1000)} left`;
  return `${far}, ${roundSize(bytesPerSecond)}/s${left}`;
}

/** From 0 to 1; `undefined` while it is not known how much there is. */
export function shareOf({ phase, bytes }: SyncProgress): number | undefined {
  return phase === 'planning' || bytes.total === 0 ? undefined : bytes.done / bytes.total;
}
