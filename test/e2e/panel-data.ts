import type { Panel, Unit } from '../../grafana/dashboard.ts';
import type { Drawn } from '../grafana/draw.ts';
import type { Observatory } from './observatory.ts';

/** A dashboard that shows so much; a real one hours. */
const SECONDS = 600;
const TEN_YEARS = 10 * 365 * 86_400;

/** What a Prometheus has for a panel, with the names of its legend. */
export class PanelData {
  readonly panel: Panel;
  /** By query. */
  readonly found: readonly (readonly Drawn[])[];

  static async of(panel: Panel, observatory: Observatory): Promise<PanelData> {
    const found = panel.queries.map(async ({ expr, legend }) => {
      const asked = expr
        .replaceAll('$instance', '.+')
        .replaceAll('$__range', `${SECONDS}s`)
        .replaceAll('$__rate_interval', '10s');
      const series = await observatory.range(asked, panel.shape === 'chart' ? SECONDS : 0);
      return series.map(({ metric, values }) => ({
        name: legend.replace(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label] ?? ''),
        points: values,
      }));
    });
    return new PanelData(panel, await Promise.all(found));
  }

  constructor(panel: Panel, found: PanelData['found']) {
    this.panel = panel;
    this.found = found;
  }

  get series(): readonly Drawn[] {
    return this.found.flat();
  }

  /** The last value by the name of its series. */
  get last(): Readonly<Record<string, number>> {
    return Object.fromEntries(
      this.series.map(({ name, points }) => [name, Number(points.at(-1)?.[1])]),
    );
  }

  /** What is not as the panel claims. */
  get faults(): string[] {
    const { title, queries, shape, unit, words, min, max } = this.panel;
    const fits = UNITS[unit] ?? Number.isFinite;
    return this.found.flatMap((series, index) => {
      const told = `${title}: ${queries[index]?.expr}`;
      if (series.length === 0) return [`${told} has no data`];
      const names = series.map(({ name }) => name);
      if (new Set(names).size < names.length) return [`${told}: two series have one name`];
      return series.flatMap(({ name, points }) => {
        const values = points.map(([, text]) => Number(text));
        const shown =
          shape === 'chart' ? values.filter((value) => !Number.isNaN(value)) : values.slice(-1);
        const isAmong = (value: number): boolean => !words || String(value) in words;
        const isIn = (value: number): boolean =>
          value >= (min ?? -Infinity) && value <= (max ?? Infinity);
        const wrong = shown.filter((value) => !fits(value) || !isAmong(value) || !isIn(value));
        return wrong.length > 0 ? [`${told}: ${name} is ${wrong[0]} ${unit}`] : [];
      });
    });
  }
}

const isCount = (value: number): boolean => Number.isFinite(value) && value >= 0;
const UNITS: Partial<Record<Unit, (value: number) => boolean>> = {
  // Of one; shares have an upper end of their own.
  percentunit: (value) => Math.abs(value) < 100,
  reqps: (value) => isCount(value) && value < 1000,
  Bps: (value) => isCount(value) && value < 2 ** 33,
  bytes: (value) => Math.abs(value) < 2 ** 41,
  s: (value) => Math.abs(value) < TEN_YEARS,
  short: isCount,
  none: isCount,
};
