/** The dashboards and rules of grafana/, at a real Prometheus and a real Alertmanager. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { parse } from 'yaml';
import { PAGES } from '../../grafana/generate.ts';
import { drawPage } from '../grafana/draw.ts';
import { missingPackages, missingRights, testUnless } from '../helpers/needs.ts';
import { ALERT_CAUSES, type Cause } from './alert-causes.ts';
import { Observatory } from './observatory.ts';
import { ObservedSite } from './observed-site.ts';
import { makeTraffic } from './observed-traffic.ts';
import { PanelData } from './panel-data.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '..', '..');
const GRAFANA = join(ROOT, 'grafana');
const PICTURES = join(ROOT, '.cache', 'grafana');
const PROGRAMS = ['openssl', 'prometheus', 'prometheus-alertmanager'] as const;
const MINUTES = 60_000;
const FORECAST = 'Time until the disk is full';
const MIRRORS = PAGES['overview']!.rows[0]!.panels[0]!;
/** What was done, as panels must show it: the last value of series by the title of the panel. */
const FIGURES: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  Mirrors: { site: 1, small: 1, disk: 1, edge: 1 },
  Upstreams: { 'docker.io': 1, 'quay.io': 0 },
  'What is wrong with the store': { full: 1, 'read-only': 0, failing: 0 },
  'Not ready': { images: 1 },
  Missing: { bytes: 50_000 },
  Away: { 'quay.io': 0 },
  'Last run': { site: 0 },
  Failures: { site: 1 },
  'Found damaged': { healed: 1, open: 0 },
  'Wrong bytes': { 'ghcr.io download': 1 },
  'Tags that moved or went': { 'ghcr.io moved': 1, 'ghcr.io gone': 1 },
  'Breaks that were mended': { 'ghcr.io': 1 },
  Configuration: { site: 1, edge: 0 },
};

const testTools = testUnless('rules', missingPackages('promtool', 'amtool'));
const testSite = testUnless('a watched site', missingPackages(...PROGRAMS) ?? missingRights());

testTools('promtool and amtool find nothing wrong with rules and configurations', async (t) => {
  const check = async (tool: string, ...args: string[]) => run(tool, args, { cwd: GRAFANA });
  const rules = ['rules/alerts.yaml', 'rules/recording.yaml'];
  await t.notThrowsAsync(
    check('promtool', 'check', 'rules', '--lint=all', '--lint-fatal', ...rules),
  );
  await t.notThrowsAsync(check('promtool', 'check', 'config', 'prometheus.yaml'));
  await t.notThrowsAsync(check('amtool', 'check-config', 'alertmanager.yaml'));
  for (const name of ['alerts', 'recording']) {
    await t.notThrowsAsync(check('promtool', 'test', 'rules', `rules/${name}.test.yaml`));
  }
});

testSite(
  'each panel has data of its unit; each alert begins with its cause and ends with it',
  async (t) => {
    t.timeout(10 * MINUTES);
    const all = await ObservedSite.start(t);
    t.teardown(() => all.stopAll());
    const watch = await Observatory.start(t, all.targets);
    await makeTraffic(all, watch);
    for (const { begin } of ALERT_CAUSES) await begin(all);
    const fires = async ({ alerts, on }: Cause): Promise<unknown> =>
      Promise.all(alerts.map(async (alert) => watch.told(alert, 'firing', on)));
    await Promise.all(ALERT_CAUSES.map(fires));
    await lookAtPanels(t, watch);
    await lookAtRecordings(t, watch);

    for (const { alerts, on, end } of ALERT_CAUSES) {
      for (const alert of end ? alerts : []) await watch.stands(alert, 'firing', on);
      await end?.(all);
    }
    const ends = async ({ alerts, on }: Cause): Promise<unknown> =>
      Promise.all(alerts.map(async (alert) => watch.stands(alert, 'resolved', on)));
    await Promise.all(ALERT_CAUSES.filter(({ on }) => on === 'edge').map(ends));
    const left = all.edge.end('SIGTERM');
    await watch.told('EntrepotNotReady', 'firing', 'edge');
    await left;
    await watch.told('EntrepotNotReady', 'resolved', 'edge');
    await watch.told('EntrepotDown', 'firing', 'edge');
    t.is((await PanelData.of(MIRRORS, watch)).last['edge'], -1);
    all.edge = await all.startEdge();
    await watch.told('EntrepotDown', 'resolved', 'edge');
    await Promise.all(ALERT_CAUSES.map(ends));
    const expected = ALERT_CAUSES.flatMap(({ alerts, on }) =>
      alerts.map((alert) => `${alert} ${on}`),
    );
    const own = ['EntrepotNotReady edge', 'EntrepotDown edge'];
    t.deepEqual([...watch.everFired].toSorted(), [...expected, ...own].toSorted());
    t.deepEqual(
      [...watch.everFired].map((name) => name.split(' ')[0] ?? '').toSorted(),
      (await rulesOf('alerts')).map(({ alert = '' }) => alert).toSorted(),
    );
  },
);

/** Every query of every panel, drawn for a look. */
async function lookAtPanels(t: ExecutionContext, watch: Observatory): Promise<void> {
  await mkdir(PICTURES, { recursive: true });
  const faults: string[] = [];
  const figures: Record<string, unknown> = {};
  for (const page of Object.values(PAGES)) {
    const panels = page.rows.flatMap((row) => row.panels);
    const data = new Map(
      await Promise.all(
        panels.map(async (panel) => [panel, await PanelData.of(panel, watch)] as const),
      ),
    );
    for (const [{ title }, each] of data) {
      if (title !== FORECAST || (await isFilling(watch))) faults.push(...each.faults);
      const names = Object.keys(FIGURES[title] ?? {});
      const shown = names.map((name) => [name, each.last[name]] as const);
      if (names.length > 0) figures[title] = Object.fromEntries(shown);
    }
    const html = drawPage(page, (panel) => data.get(panel)?.series ?? []);
    await writeFile(join(PICTURES, `${page.uid}.html`), html);
    await takePicture(page.uid);
  }
  t.deepEqual(faults, []);
  t.deepEqual(figures, FIGURES);
}

/** Whether the disk of a mirror that keeps things has less room than before: others write to it, too. */
async function isFilling(watch: Observatory): Promise<boolean> {
  const falls = 'deriv(entrepot_store_free_bytes[6h]) < 0';
  const hasRoom = 'entrepot_store_free_bytes > entrepot_store_min_free_bytes';
  return (await watch.now(`(${falls}) and (${hasRoom})`)).length > 0;
}

/** Where there is a browser. */
async function takePicture(name: string): Promise<void> {
  const args = ['--headless', '--no-sandbox', '--hide-scrollbars', '--window-size=1250,2600'];
  const [page, picture] = ['html', 'png'].map((kind) => join(PICTURES, `${name}.${kind}`));
  await run('chromium', [...args, `--screenshot=${picture}`, `file://${page}`]).catch(
    () => undefined,
  );
}

async function lookAtRecordings(t: ExecutionContext, watch: Observatory): Promise<void> {
  for (const { record = '' } of await rulesOf('recording')) {
    const values = await watch.now(record);
    t.true(values.length > 0, record);
    t.true(values.every(Number.isFinite), record);
    if (record.includes('ratio_hit'))
      t.true(
        values.every((value) => value <= 1),
        record,
      );
  }
}

async function rulesOf(name: string): Promise<{ alert?: string; record?: string }[]> {
  const text = await readFile(join(GRAFANA, 'rules', `${name}.yaml`), 'utf8');
  const { groups } = parse(text) as { groups: { rules: { alert?: string; record?: string }[] }[] };
  return groups.flatMap(({ rules }) => rules);
}
