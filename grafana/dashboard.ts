import {
  DashboardBuilder,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  MappingType,
  QueryVariableBuilder,
  RowBuilder,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  VariableRefresh,
  type Dashboard,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { PanelBuilder as BarGaugeBuilder } from '@grafana/grafana-foundation-sdk/bargauge';
import {
  BigValueColorMode,
  BigValueGraphMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VizLegendOptionsBuilder,
  VizOrientation,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as TimeseriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries';

/** What a panel asks of Prometheus. */
export interface Query {
  /** PromQL; `$instance` is the mirrors that were chosen at the top of the dashboard. */
  readonly expr: string;
  /** Names the series: `{{label}}` stands for a label's value. */
  readonly legend: string;
}

export interface Panel {
  readonly title: string;
  /** What it shows, and what to think of it: one or two sentences. */
  readonly description: string;
  /**
   * `value` is one large figure a series, `bars` a bar a series, `chart` a line a series over time.
   */
  readonly shape: 'value' | 'bars' | 'chart';
  /** As Grafana names units: https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/valueFormats/categories.ts */
  readonly unit: Unit;
  /** Said where nothing is to be shown: what that means. */
  readonly empty: string;
  readonly queries: readonly Query[];
  /** Of 24 columns; 6 of a figure and 12 of a chart unless given. */
  readonly width?: number;
  /** From which value on a figure has which colour; the first one has no lower end. */
  readonly colours?: readonly (readonly [
    from: number | null,
    colour: 'green' | 'orange' | 'red',
  ])[];
  /** Words in place of figures. */
  readonly words?: Readonly<Record<string, string>>;
  readonly min?: number;
  readonly max?: number;
  /** The lines are parts of a sum. */
  readonly isStacked?: boolean;
}

export type Unit =
  | 'bytes'
  | 'Bps'
  | 'percentunit'
  | 'percent'
  | 'reqps'
  | 's'
  | 'short'
  | 'bool_yes_no'
  | 'dateTimeFromNow'
  | 'ops'
  | 'none';

export interface Page {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  /** Panels by the heading they stand under, from the top. */
  readonly rows: readonly { readonly title: string; readonly panels: readonly Panel[] }[];
}

const HEIGHT = { value: 4, bars: 7, chart: 8 } as const;
const WIDTH = { value: 6, bars: 12, chart: 12 } as const;
const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };

/** The page as Grafana 10 to 13 provision it: without an import dialog, for whatever data source is chosen. */
export function makeDashboard(page: Page): Dashboard {
  const builder = new DashboardBuilder(page.title)
    .uid(page.uid)
    .description(page.description)
    .tags(['entrepot'])
    .refresh('30s')
    .time({ from: 'now-6h', to: 'now' })
    .link(otherDashboards())
    .withVariable(
      new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'),
    )
    .withVariable(instanceVariable());
  for (const row of page.rows) {
    builder.withRow(new RowBuilder(row.title));
    for (const panel of row.panels) builder.withPanel(makePanel(panel));
  }
  const dashboard = builder.build();
  // The library gives panels none, and Grafana 10 mixes up panels without.
  dashboard.panels?.forEach((panel, index) => (panel.id = index + 1));
  return dashboard;
}

function otherDashboards(): DashboardLinkBuilder {
  return new DashboardLinkBuilder('Entrepot')
    .type(DashboardLinkType.Dashboards)
    .tags(['entrepot'])
    .includeVars(true)
    .keepTime(true);
}

function instanceVariable(): QueryVariableBuilder {
  return new QueryVariableBuilder('instance')
    .label('Mirror')
    .datasource(DATASOURCE)
    .query('label_values(entrepot_build_info, instance)')
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .multi(true)
    .includeAll(true)
    .allValue('.+');
}

function makePanel(panel: Panel) {
  const builder = makeShape(panel)
    .title(panel.title)
    .description(panel.description)
    .datasource(DATASOURCE)
    .unit(panel.unit)
    .noValue(panel.empty)
    .span(panel.width ?? WIDTH[panel.shape])
    .height(HEIGHT[panel.shape])
    .thresholds(thresholds(panel));
  if (panel.min !== undefined) builder.min(panel.min);
  if (panel.max !== undefined) builder.max(panel.max);
  if (panel.words)
    builder.mappings([{ type: MappingType.ValueToText, options: words(panel.words) }]);
  panel.queries.forEach(({ expr, legend }, index) => {
    const query = new DataqueryBuilder().expr(expr).legendFormat(legend);
    // A figure is of now: the last one of a series that has ended says nothing.
    if (panel.shape !== 'chart') query.instant();
    builder.withTarget(query.refId(String.fromCharCode(65 + index)));
  });
  return builder;
}

function makeShape({ shape, isStacked = false }: Panel) {
  if (shape === 'chart') return makeChart(isStacked);
  const lastValue = new ReduceDataOptionsBuilder().calcs(['lastNotNull']).values(false);
  if (shape === 'bars') {
    return new BarGaugeBuilder().orientation(VizOrientation.Horizontal).reduceOptions(lastValue);
  }
  return new StatBuilder()
    .graphMode(BigValueGraphMode.None)
    .colorMode(BigValueColorMode.Value)
    .reduceOptions(lastValue);
}

function makeChart(isStacked: boolean): TimeseriesBuilder {
  const legend = new VizLegendOptionsBuilder()
    .displayMode(LegendDisplayMode.List)
    .placement(LegendPlacement.Bottom)
    .showLegend(true);
  const chart = new TimeseriesBuilder()
    .legend(legend)
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi))
    .fillOpacity(isStacked ? 40 : 8)
    .lineWidth(1);
  return isStacked
    ? chart.stacking(new StackingConfigBuilder().mode(StackingMode.Normal).group('A'))
    : chart;
}

function thresholds({ colours = [[null, 'green']] }: Panel): ThresholdsConfigBuilder {
  return new ThresholdsConfigBuilder()
    .mode(ThresholdsMode.Absolute)
    .steps(colours.map(([value, color]) => ({ value, color })));
}

function words(texts: Readonly<Record<string, string>>) {
  return Object.fromEntries(
    Object.entries(texts).map(([value, text], index) => [value, { text, index }]),
  );
}
