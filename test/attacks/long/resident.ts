import { readFileSync } from 'node:fs';
import type { Scope } from './attack.ts';

const LOOK_MS = 100;

export interface Peak {
  readonly mebibytes: number;
}

/** The most memory that the process has resident from now on. */
export function resident(scope: Scope, pid: number): Peak {
  const peak = { mebibytes: 0 };
  const look = (): void => {
    try {
      const kibibytes = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      peak.mebibytes = Math.max(peak.mebibytes, Math.round(Number(kibibytes ?? 0) / 1024));
    } catch {
      // It has ended: what it had until then stands.
    }
  };
  const watch = setInterval(look, LOOK_MS);
  scope.teardown(() => clearInterval(watch));
  return peak;
}
