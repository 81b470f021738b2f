import type { Budget } from './budgets.ts';

export interface PeerValue {
  readonly name: string;
  readonly value: number;
}

/** One line of the table: what was measured, beside what, and what it may be. */
export interface Row {
  readonly work: string;
  readonly unit: string;
  readonly entrepot: number;
  readonly peer?: PeerValue | undefined;
  /** Entrepot's value by the peer's. */
  readonly ratio?: number;
  readonly budget?: Budget;
  readonly met?: boolean;
  readonly note?: string;
}

export interface Measured {
  readonly work: string;
  readonly unit: string;
  readonly entrepot: number;
  /** Left out: the budget is for Entrepot's own value. */
  readonly peer?: PeerValue | undefined;
  readonly budget?: Budget;
  readonly note?: string;
}

/** Judges what was measured by the number that the table shows. */
export function judge(measured: Measured): Row {
  const { entrepot, peer, budget } = measured;
  const ratio = peer && round(entrepot / peer.value);
  const judged = ratio ?? round(entrepot);
  return {
    ...measured,
    ...(ratio !== undefined && { ratio }),
    ...(budget && { met: meets(judged, budget) }),
  };
}

function meets(value: number, { atLeast, atMost }: Budget): boolean {
  return atLeast === undefined ? value <= atMost : value >= atLeast;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
