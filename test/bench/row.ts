import type { Budget } from './budgets.ts';
import { median } from './rounds.ts';

export interface PeerValue {
  readonly name: string;
  readonly value: number;
}

/** One line of the table: what was measured, beside what, and what it may be. */
export interface Row {
  readonly work: string;
  readonly unit: string;
  readonly entrepot: number;
  /** The lowest and the highest of a round, where there were several. */
  readonly range?: readonly [number, number];
  readonly peer?: PeerValue;
  /** Entrepot's value by the peer's. */
  readonly ratio?: number;
  /** The lowest and the highest ratio of a round. */
  readonly spread?: readonly [number, number];
  readonly budget?: Budget;
  readonly met?: boolean;
  readonly note?: string;
}

export interface Measured {
  readonly work: string;
  readonly unit: string;
  /** One value a round. */
  readonly entrepot: readonly number[];
  /** Left out: the budget is for Entrepot's own value. */
  readonly peer?: { readonly name: string; readonly values: readonly number[] };
  readonly budget?: Budget;
  readonly note?: string;
}

/**
 * Medians of what was measured, and how they do by the budget. The ratio is the median of the
 * rounds' own ratios: a round is over before the machine's pace has changed much.
 */
export function judge({ entrepot, peer, ...measured }: Measured): Row {
  const ratios = peer?.values.map((value, round) => (entrepot[round] ?? NaN) / value);
  const judged = round(median(ratios ?? entrepot));
  return {
    ...measured,
    entrepot: median(entrepot),
    ...(entrepot.length > 1 && {
      range: [Math.min(...entrepot), Math.max(...entrepot)] as const,
    }),
    ...(peer &&
      ratios && {
        peer: { name: peer.name, value: median(peer.values) },
        ratio: judged,
        spread: [round(Math.min(...ratios)), round(Math.max(...ratios))] as const,
      }),
    ...(measured.budget && { met: meets(judged, measured.budget) }),
  };
}

function meets(value: number, { atLeast, atMost }: Budget): boolean {
  return atLeast === undefined ? value <= atMost : value >= atLeast;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
