import type { Page, Panel, Unit } from '../../grafana/dashboard.ts';

/** A series as Prometheus answers a range query: seconds since 1970, and the value as text. */
export interface Drawn {
  readonly name: string;
  readonly points: readonly (readonly [number, string])[];
}

const [WIDTH, HEIGHT] = [560, 150];
const COLOURS = [
  '#5794f2',
  '#73bf69',
  '#f2cc0c',
  '#ff780a',
  '#b877d9',
  '#f2495c',
  '#8ab8ff',
  '#37872d',
];

/**
 * A page with every panel of a dashboard and the data that a Prometheus had for it, to be looked at in a
 * browser. It stands in for Grafana: what it shows is the data, the words and the order, not the look.
 */
export function drawPage(page: Page, seriesOf: (panel: Panel) => readonly Drawn[]): string {
  const rows = page.rows.map(
    ({ title, panels }) =>
      `<h2>${escape(title)}</h2><section>${panels.map((panel) => drawPanel(panel, seriesOf(panel))).join('')}</section>`,
  );
  return `<!doctype html><meta charset="utf-8"><title>${escape(page.title)}</title><style>
body{background:#111217;color:#ccccdc;font:13px sans-serif;margin:16px;width:1210px}
section{display:grid;grid-template-columns:repeat(24,1fr);gap:8px}
article{background:#181b1f;border:1px solid #2b2d33;padding:8px;min-width:0}
h1{font-size:20px}h2{font-size:15px}h3{font-size:13px;margin:0 0 4px}p{color:#8e8e99;font-size:11px;margin:0 0 6px}
.values{display:flex;flex-wrap:wrap;gap:14px}.value b{font-size:24px;display:block}.legend span{margin-right:10px;font-size:11px}
.bar{background:#2b2d33;margin:3px 0}.bar i{display:block;height:12px}</style>
<h1>${escape(page.title)}</h1><p>${escape(page.description)}</p>${rows.join('')}`;
}

function drawPanel(panel: Panel, series: readonly Drawn[]): string {
  const span = panel.width ?? (panel.shape === 'value' ? 6 : 12);
  const data =
    series.length === 0
      ? `<i>${escape(panel.empty)}</i>`
      : panel.shape === 'chart'
        ? drawChart(panel, series)
        : panel.shape === 'bars'
          ? drawBars(panel, series)
          : drawValues(panel, series);
  return `<article style="grid-column:span ${span}"><h3>${escape(panel.title)}</h3><p>${escape(panel.description)}</p>${data}</article>`;
}

function drawValues(panel: Panel, series: readonly Drawn[]): string {
  const values = series.map(
    ({ name, points }) =>
      `<div class="value"><b style="color:${colourOf(panel, last(points))}">${escape(show(panel, last(points)))}</b>${escape(name)}</div>`,
  );
  return `<div class="values">${values.join('')}</div>`;
}

function drawBars(panel: Panel, series: readonly Drawn[]): string {
  const most = panel.max ?? Math.max(...series.map(({ points }) => last(points)));
  return series
    .map(({ name, points }) => {
      const value = last(points);
      const share = Math.max(0, Math.min(100, (100 * value) / most));
      return `<div>${escape(name)}: ${escape(show(panel, value))}<div class="bar"><i style="width:${share}%;background:${colourOf(panel, value)}"></i></div></div>`;
    })
    .join('');
}

function drawChart(panel: Panel, series: readonly Drawn[]): string {
  const points = series.flatMap((each) =>
    each.points.map(([at, value]) => [at, Number(value)] as const),
  );
  const values = points.map(([, value]) => value).filter(Number.isFinite);
  const times = points.map(([at]) => at);
  const [from, to] = [Math.min(...times), Math.max(...times)];
  const least = panel.min ?? Math.min(...values, 0);
  const most = Math.max(panel.max ?? -Infinity, ...values, least + 1e-9);
  const lines = series.map(({ points: own }, index) => {
    const path = own
      .filter(([, value]) => Number.isFinite(Number(value)))
      .map(([at, value]) => {
        const x = (WIDTH * (at - from)) / (to - from || 1);
        const y = HEIGHT - (HEIGHT * (Number(value) - least)) / (most - least);
        return `${x.toFixed(1)},${y.toFixed(1)}`;
      });
    return `<polyline fill="none" stroke="${COLOURS[index % COLOURS.length]}" points="${path.join(' ')}"/>`;
  });
  const legend = series.map(
    ({ name }, index) =>
      `<span style="color:${COLOURS[index % COLOURS.length]}">${escape(name)}</span>`,
  );
  return `<div>${escape(show(panel, most))}</div><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" width="100%">${lines.join('')}</svg><div>${escape(show(panel, least))}</div><div class="legend">${legend.join('')}</div>`;
}

function last(points: Drawn['points']): number {
  return Number(points.at(-1)?.[1]);
}

function colourOf({ colours = [[null, 'green']] }: Panel, value: number): string {
  const reached = colours.filter(([from]) => from === null || value >= from);
  return reached.at(-1)?.[1] ?? 'green';
}

/** A value with its unit, as Grafana would write it. */
function show({ unit, words }: Panel, value: number): string {
  const word = words?.[String(value)];
  if (word !== undefined) return word;
  const short = (number: number): string => String(Number(number.toPrecision(3)));
  const SHOWN: Partial<Record<Unit, () => string>> = {
    percentunit: () => `${short(value * 100)} %`,
    bytes: () => binary(value),
    Bps: () => `${binary(value)}/s`,
    reqps: () => `${short(value)} req/s`,
    s: () => seconds(value),
  };
  return SHOWN[unit]?.() ?? short(value);
}

function binary(bytes: number): string {
  const power = Math.min(4, Math.max(0, Math.floor(Math.log2(Math.abs(bytes) || 1) / 10)));
  return `${Number((bytes / 1024 ** power).toPrecision(3))} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]}`;
}

function seconds(value: number): string {
  const [count, name] =
    Math.abs(value) < 1
      ? [value * 1000, 'ms']
      : Math.abs(value) < 120
        ? [value, 's']
        : Math.abs(value) < 7200
          ? [value / 60, 'min']
          : Math.abs(value) < 172_800
            ? [value / 3600, 'hours']
            : [value / 86_400, 'days'];
  return `${Number(count.toPrecision(3))} ${name}`;
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
