import pino from 'pino';
import test, { type ExecutionContext } from 'ava';
import type { KeptScan } from '../../../src/admission/vulnerabilities/kept-scan.ts';
import { Scanner, type Scanned } from '../../../src/admission/vulnerabilities/scanner.ts';
import { parseMetadata } from '../../../src/admission/vulnerabilities/scanner-metadata.ts';
import { Scans, type ScansParts } from '../../../src/admission/vulnerabilities/scans.ts';
import { Metrics } from '../../../src/observe/metrics.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { parseRepository } from '../../../src/oci/reference.ts';
import type { ScanRecords } from '../../../src/store/catalog/scan-records.ts';
import { Clock, HOUR, MINUTE } from '../../helpers/clock.ts';
import { until } from '../../helpers/until.ts';
import { OCI_MANIFEST } from './fake-adapter.ts';
import { TRIVY } from './trivy-form.ts';

const IMAGES = 1_000;
const TARGET = { upstream: 'hub.example', repository: parseRepository('library/app') };
const CRITICAL = { id: 'CVE-2030-1', package: 'zlib', version: '1', severity: 'Critical' };

/** An adapter that works on as many at a time as it is asked for, and ends when a test lets it. */
class Scripted {
  databaseAt = '2029-12-31T06:00:00Z';
  findings: readonly object[] = [];
  readonly asked: string[] = [];
  atOnce = 0;
  #running = 0;
  #gate: Promise<void> | undefined;

  readonly adapter: ScansParts['adapter'] = {
    metadata: async () => {
      const key = 'harbor.scanner-adapter/vulnerability-database-updated-at';
      return parseMetadata({ ...TRIVY.metadata, properties: { [key]: this.databaseAt } });
    },
    submit: async ({ artifact }) => {
      this.#running += 1;
      this.atOnce = Math.max(this.atOnce, this.#running);
      this.asked.push(artifact.digest);
      return { kind: 'accepted', id: `${artifact.repository} ${artifact.digest}` };
    },
    report: async (id) => {
      await this.#gate;
      this.#running -= 1;
      const [repository = '', digest = ''] = id.split(' ');
      const report = TRIVY.cleanReport({ repository, digest: digest as Digest });
      const document = { ...(JSON.parse(report) as object), vulnerabilities: this.findings };
      return { kind: 'report', document, type: TRIVY.reportType };
    },
  };

  /** No scan ends until what is given back is called. */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    return resolve;
  }
}

class Memory implements ScanRecords {
  readonly scans = new Map<Digest, object>();
  #scanner: unknown;
  find = async (digest: Digest): Promise<unknown> => this.scans.get(digest);
  record = async (digest: Digest, scan: object): Promise<void> => {
    this.scans.set(digest, scan);
  };
  digests = async (): Promise<Digest[]> => [...this.scans.keys()];
  findScanner = async (): Promise<unknown> => this.#scanner;
  recordScanner = async (scanner: object): Promise<void> => {
    this.#scanner = scanner;
  };
}

function startScanner(t: ExecutionContext) {
  const [clock, scripted, kept] = [new Clock(), new Scripted(), new Memory()];
  const registryUrl = 'http://mirror.example:5000';
  const wait = async (_: number, signal: AbortSignal) => signal.throwIfAborted();
  const scanner = new Scanner({
    scans: new Scans({ adapter: scripted.adapter, registryUrl, clock, wait }),
    kept,
    issue: async () => 'Bearer abc.def',
    nameOf: ({ upstream, repository }) => `${upstream}/${repository}`,
    isHeld: async () => true,
    maxAgeMs: 24 * HOUR,
    clock,
    log: pino({ level: 'silent' }),
    metrics: new Metrics(),
  });
  t.teardown(async () => scanner.close());
  return { clock, scripted, kept, scanner };
}

function imageOf(seed: number | string): Scanned {
  return { target: TARGET, digest: digestOf(Buffer.from(`${seed}`)), mediaType: OCI_MANIFEST };
}

test('another database with a thousand images held: nobody waits, all are scanned anew in turn, two at a time', async (t) => {
  const { clock, scripted, kept, scanner } = startScanner(t);
  const images = Array.from({ length: IMAGES }, (_, at) => imageOf(at));
  const about = async (image: Scanned) => scanner.about(image, { isHeld: false });
  for (const image of images) await about(image);
  t.is(scripted.asked.length, IMAGES);
  scripted.databaseAt = '2030-01-01T06:00:00Z';
  scripted.findings = [CRITICAL];
  scripted.atOnce = 0;
  const release = scripted.hold();
  clock.advance(MINUTE);
  await about(images[0]!);
  await until('the first are scanned anew', () => scripted.asked.length === IMAGES + 2);
  for (const image of images) {
    const known = await about(image);
    t.true(known !== 'none' && 'findings' in known && known.findings.length === 0);
  }
  t.is(scripted.asked.length, IMAGES + 2);
  const pulled = about(imageOf('new'));
  await until('what somebody waits for goes beside it', () => scripted.asked.length === IMAGES + 3);
  release();
  t.like(await pulled, { findings: [{ id: CRITICAL.id }] });
  await until('all are scanned anew', () => scripted.asked.length === 2 * IMAGES + 1);
  t.is(scripted.atOnce, 3);
  await until('all are kept', () =>
    [...kept.scans.values()].every((scan) => (scan as KeptScan).findings.length === 1),
  );
  clock.advance(MINUTE);
  for (const image of images) t.like(await about(image), { findings: [{ id: CRITICAL.id }] });
  t.is(scripted.asked.length, 2 * IMAGES + 1);
});

test('a scanner that tells no date has all scanned anew before the longest age is over', async (t) => {
  const { clock, scripted, scanner } = startScanner(t);
  scripted.databaseAt = '';
  const image = imageOf('app');
  const ask = async () => scanner.about(image, { isHeld: false });
  await ask();
  clock.advance(12 * HOUR - 1);
  await ask();
  t.is(scripted.asked.length, 1);
  clock.advance(3 * HOUR);
  t.like(await ask(), { findings: [] });
  await until('it is scanned anew', () => scripted.asked.length === 2);
});
