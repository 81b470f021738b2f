import type { Target } from '../oci/reference.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { SourceRegistries } from './source-registry.ts';

/**
 * Settles as the question to the target's upstream does, or rejects when that takes longer than a
 * client with a held copy is made to wait: the configured time, and none while the upstream is
 * down. The question goes on.
 */
export async function withinDeadline<Value>(
  registries: SourceRegistries,
  target: Pick<Target, 'upstream'>,
  question: Promise<Value>,
): Promise<Value> {
  const { policy, upstream } = registries.of(target);
  const { revalidateTimeoutMs } = policy;
  // When the deadline wins, its end is nobody's surprise.
  question.catch(() => undefined);
  const { state, reason = '' } = upstream.status;
  if (state === 'down') throw new UpstreamError(target.upstream, 'unreachable', `down: ${reason}`);
  const deadline = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const reason = `no answer within ${revalidateTimeoutMs} ms`;
    deadline.reject(new UpstreamError(target.upstream, 'timeout', reason));
  }, revalidateTimeoutMs);
  try {
    return await Promise.race([question, deadline.promise]);
  } finally {
    clearTimeout(timer);
  }
}
