// npm run bench [-- [ROW …] [--short] [--rounds N] [--peer NAME=PATH …] [--against CHECKOUT]
//   [--out FILE] [--profile FOLDER] [--full]]
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { measureAccess } from './access.ts';
import { measureAdmission } from './admission.ts';
import { measureBlobThroughput } from './blob-throughput.ts';
import { measureZipf } from './catalog-zipf.ts';
import { measureBundle } from './bundle.ts';
import { measureCatalog } from './catalog.ts';
import { measureCatalogWrites } from './catalog-writes.ts';
import { measureColdBurst } from './cold-burst.ts';
import { measureColdImage } from './cold-image.ts';
import { measureColdPull } from './cold-pull.ts';
import { explainMissing, type Command } from './commands.ts';
import { measureSegments } from './segments.ts';
import { measureIdleConnections } from './idle-connections.ts';
import { measureHttps } from './https.ts';
import { measureLazy } from './lazy.ts';
import { measureManifestRate } from './manifest-rate.ts';
import { measureManyClients } from './many-clients.ts';
import { measurePackageStart } from './package-start.ts';
import { PEER_NAMES, type PeerName } from './peers/peer-name.ts';
import type { Row } from './row.ts';
import { measureStorm } from './storm.ts';
import { measureSyncBeside } from './sync-beside.ts';
import { measureSyncImages } from './sync-images.ts';
import { Table } from './table.ts';
import { Workbench } from './workbench.ts';

interface Measurement {
  readonly measure: (bench: Workbench) => Promise<Row[]>;
  /** Without these there is no measurement. */
  readonly needs: readonly Command[];
  /** Without these there is one value less to compare with. */
  readonly peers: readonly Command[];
  /** Measures another checkout beside this one, round by round. */
  readonly comparesCheckouts?: true;
  /** A part of `--short`. */
  readonly isQuick?: true;
}

const MEASUREMENTS: Readonly<Record<string, Measurement>> = {
  blob: {
    measure: measureBlobThroughput,
    needs: ['curl'],
    peers: ['docker-registry', 'nginx'],
    comparesCheckouts: true,
    isQuick: true,
  },
  manifest: {
    measure: measureManifestRate,
    needs: ['wrk'],
    peers: ['docker-registry'],
    comparesCheckouts: true,
    isQuick: true,
  },
  https: {
    measure: measureHttps,
    needs: ['curl', 'wrk'],
    peers: ['docker-registry', 'nginx'],
    comparesCheckouts: true,
  },
  burst: {
    measure: measureColdBurst,
    needs: ['curl'],
    peers: ['docker-registry'],
    comparesCheckouts: true,
  },
  cold: {
    measure: measureColdPull,
    needs: [],
    peers: ['docker-registry'],
    comparesCheckouts: true,
    isQuick: true,
  },
  segments: { measure: measureSegments, needs: [], peers: [] },
  lazy: { measure: measureLazy, needs: [], peers: ['docker-registry'] },
  image: {
    measure: measureColdImage,
    needs: ['skopeo'],
    peers: ['docker-registry'],
    comparesCheckouts: true,
    isQuick: true,
  },
  memory: { measure: measureManyClients, needs: ['curl'], peers: ['docker-registry'] },
  idle: { measure: measureIdleConnections, needs: [], peers: ['docker-registry'], isQuick: true },
  storm: { measure: measureStorm, needs: [], peers: ['docker-registry'], isQuick: true },
  start: { measure: measurePackageStart, needs: [], peers: [] },
  catalog: { measure: measureCatalog, needs: [], peers: [] },
  'catalog-writes': { measure: measureCatalogWrites, needs: [], peers: [] },
  zipf: { measure: measureZipf, needs: [], peers: [] },
  sync: { measure: measureSyncBeside, needs: [], peers: [] },
  'sync-many': { measure: measureSyncImages, needs: ['regsync'], peers: [] },
  access: { measure: measureAccess, needs: ['curl', 'wrk'], peers: [] },
  admission: { measure: measureAdmission, needs: ['wrk'], peers: [] },
  bundle: { measure: measureBundle, needs: [], peers: [] },
};

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    short: { type: 'boolean', default: false },
    peer: { type: 'string', multiple: true, default: [] },
    rounds: { type: 'string' },
    against: { type: 'string' },
    out: { type: 'string' },
    profile: { type: 'string' },
    full: { type: 'boolean', default: false },
  },
});
const rows = Object.keys(MEASUREMENTS).filter(
  (name) => values.against === undefined || MEASUREMENTS[name]?.comparesCheckouts,
);
const quick = rows.filter((name) => MEASUREMENTS[name]?.isQuick);
const standing = values.short ? quick : rows;
const names = positionals.length > 0 ? positionals : standing;
const unknown = names.find((name) => !rows.includes(name));
if (unknown !== undefined) {
  const where = values.against === undefined ? '' : ' against another checkout';
  process.stderr.write(`no row ${unknown}${where}; there are ${rows.join(', ')}\n`);
  process.exit(2);
}
const peers = readPeers(values.peer);
const table = await run(names);
const standard = join('bench-results', new Date().toISOString().replaceAll(':', '-').slice(0, 19));
await table.write((values.out ?? standard).replace(/\.(md|json)$/, ''));
process.stdout.write(table.markdown);

async function run(chosen: readonly string[]): Promise<Table> {
  await using bench = await Workbench.open({
    profileFolder: values.profile,
    against: values.against,
    peers,
    isShort: values.short,
    isFull: values.full,
    rounds: values.rounds === undefined ? undefined : Number(values.rounds),
  });
  const measured: Row[] = [];
  const leftOut = new Set<string>();
  for (const name of chosen) {
    const measurement = MEASUREMENTS[name];
    if (!measurement) continue;
    const { measure, needs, peers } = measurement;
    const obstacles = explainMissing(needs);
    for (const obstacle of obstacles) leftOut.add(`${name}, for want of ${obstacle}`);
    for (const peer of explainMissing(peers)) leftOut.add(peer);
    if (obstacles.length > 0) continue;
    const begun = performance.now();
    measured.push(...(await measure(bench)));
    bench.progress(`${name}: took ${Math.round((performance.now() - begun) / 1000)} s`);
  }
  return new Table(measured, [...leftOut]);
}

/** Each as `NAME=PATH`. */
function readPeers(texts: readonly string[]): Partial<Record<PeerName, string>> {
  const given: Partial<Record<PeerName, string>> = {};
  for (const text of texts) {
    const [, written, path] = /^([^=]+)=(.+)$/.exec(text) ?? [];
    const name = PEER_NAMES.find((known) => known === written);
    if (name === undefined || path === undefined) {
      process.stderr.write(`--peer ${text}: write NAME=PATH, a name of ${PEER_NAMES.join(', ')}\n`);
      process.exit(2);
    }
    given[name] = path;
  }
  return given;
}
