import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { dirname } from 'node:path';
import type { Budget } from './budgets.ts';
import type { Row } from './row.ts';

const COLUMNS = ['work', 'Entrepot', 'peer', 'ratio', 'budget', 'met?'];

/** The rows of one run on one machine, and what was left out of it. */
export class Table {
  readonly #rows: readonly Row[];
  readonly #leftOut: readonly string[];
  readonly #date = new Date().toISOString();

  constructor(rows: readonly Row[], leftOut: readonly string[]) {
    this.#rows = rows;
    this.#leftOut = leftOut;
  }

  get markdown(): string {
    const lines = [COLUMNS, COLUMNS.map(() => '---'), ...this.#rows.map(cells)];
    const notes = this.#rows.flatMap(({ work, note }) => (note ? [`- ${work}: ${note}`] : []));
    return [
      `${this.#date}, ${machine()}, Node ${process.version}`,
      '',
      ...lines.map((line) => `| ${line.join(' | ')} |`),
      ...paragraph(notes),
      ...paragraph(this.#leftOut.map((what) => `- left out: ${what}`)),
      '',
    ].join('\n');
  }

  /** Writes `<base>.md` and `<base>.json`. */
  async write(base: string): Promise<void> {
    const { markdown } = this;
    const content = {
      date: this.#date,
      machine: machine(),
      node: process.version,
      rows: this.#rows,
      leftOut: this.#leftOut,
    };
    await mkdir(dirname(base), { recursive: true });
    await writeFile(`${base}.md`, markdown);
    await writeFile(`${base}.json`, `${JSON.stringify(content, undefined, 2)}\n`);
  }
}

function cells({ work, unit, entrepot, range, peer, ratio, spread, budget, met }: Row): string[] {
  return [
    work,
    `${format(entrepot)}${range ? ` (${range.map(format).join('–')})` : ''} ${unit}`,
    peer ? `${peer.name} ${format(peer.value)} ${unit}` : '',
    ratio === undefined
      ? ''
      : `${ratio.toFixed(2)} (${spread?.map((value) => value.toFixed(2)).join('–')})`,
    budget ? formatBudget(budget, ratio === undefined ? unit : '×') : '',
    met === undefined ? '' : met ? 'yes' : '**no**',
  ];
}

function formatBudget({ atLeast, atMost }: Budget, unit: string): string {
  return atLeast === undefined ? `≤ ${atMost} ${unit}` : `≥ ${atLeast} ${unit}`;
}

function format(value: number): string {
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(2);
}

function paragraph(lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', ...lines];
}

function machine(): string {
  const [first] = cpus();
  const memory = Math.round(totalmem() / 1024 ** 3);
  return `${cpus().length} × ${first?.model.trim() ?? 'unknown processor'}, ${memory} GiB`;
}
