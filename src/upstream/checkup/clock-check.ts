import { failed, ok, skipped, warning, type Outcome } from './finding.ts';

const WARN_SECONDS = 60;
const FAIL_SECONDS = 15 * 60;

/** The local clock against the `Date` of an answer that came at `now`, milliseconds since 1970. */
export function checkClock(
  headers: Readonly<Record<string, string>> | undefined,
  now: number,
): Outcome {
  if (!headers) return skipped('no answer to compare with');
  const sent = Date.parse(headers['date'] ?? '');
  if (Number.isNaN(sent)) return skipped('the answer has no date');
  // A cache on the way answers with the date of the origin's answer.
  const age = /^\d{1,9}$/.test(headers['age'] ?? '') ? Number(headers['age']) : 0;
  const seconds = Math.round((now - sent) / 1000) - age;
  const size = Math.abs(seconds);
  if (size <= WARN_SECONDS) return ok(`within ${WARN_SECONDS} s of the registry's`);
  const detail = `this machine is ${describe(size)} ${seconds > 0 ? 'ahead of' : 'behind'} the registry`;
  const advice =
    'set the clock (NTP): tokens and certificates are refused by the date; check it with timedatectl';
  return size > FAIL_SECONDS ? failed(detail, advice) : warning(detail, advice);
}

function describe(seconds: number): string {
  if (seconds < 2 * 60) return `${seconds} s`;
  if (seconds < 2 * 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 2 * 86_400) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}
