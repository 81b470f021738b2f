import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepository } from '../../src/oci/reference.ts';
import { unitOf } from '../../src/store/catalog/catalog.ts';
import { get } from '../helpers/client.ts';
import { Clock, HOUR, MINUTE } from '../helpers/clock.ts';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import {
  createTempFolder,
  startMirror,
  type MirrorOptions,
  type TestMirror,
} from '../helpers/mirror.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import type { AdmissionConfig } from './guarded.ts';
import { SiteScanner, STRICT } from './scanned.ts';
import { attachBundle, KeyHolder } from './signing.ts';

export const IMAGES = [0, 1, 2] as const;
export const MAX_AGE = 24 * HOUR;
const CVE = 'CVE-2030-1';
const SIGNERS = [new KeyHolder(), new KeyHolder()] as const;
const START = Date.UTC(2030, 0, 1);
/** Until when the finding is excepted, by the number of the rule; the last one takes it as it is. */
const RULES: readonly { readonly until?: string; readonly atMost?: 'critical' }[] = [
  {},
  { until: '2030-01-02' },
  { until: '2030-01-04T12:00:00Z' },
  { atMost: 'critical' },
];
export const RULE_COUNT = RULES.length;

export type VulnerableAct =
  | { readonly do: 'pull'; readonly image: number; readonly by: 'GET' | 'HEAD' | 'blob' }
  /** A newer database, by which these images have the finding. */
  | { readonly do: 'database'; readonly found: readonly number[] }
  /** The scanner has no report of these images. */
  | { readonly do: 'stuck'; readonly images: readonly number[] }
  | { readonly do: 'silence'; readonly is: boolean }
  | { readonly do: 'vex'; readonly image: number; readonly by: number }
  | { readonly do: 'rule'; readonly to: number }
  | { readonly do: 'trust'; readonly to: number }
  | { readonly do: 'evict'; readonly image: number }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'set'; readonly ms: number }
  | { readonly do: 'restart' };

interface Database {
  readonly at: string;
  readonly found: ReadonlySet<number>;
  /** When the mirror was told of it first, by the clock. */
  toldAt: number;
}

/** A mirror with one rule about the vulnerabilities of three images, and all that may change about it. */
export class VulnerableWorld {
  readonly clock = new Clock();
  admitted = 0;
  readonly #t: ExecutionContext;
  readonly #registry: FakeRegistry;
  readonly #repository: string;
  readonly #folder: string;
  readonly #scanner: SiteScanner;
  readonly #images: readonly Image[];
  readonly #databases: Database[] = [{ at: dateOf(0), found: new Set(), toldAt: Infinity }];
  /** Who has stated of an image that it is not affected. */
  readonly #stated = new Set<string>();
  #stuck: ReadonlySet<string> = new Set();
  #isSilent = false;
  #heardAt = -Infinity;
  #mirror: TestMirror | undefined;
  #rule = 0;
  #trusted = 0;

  static async start(t: ExecutionContext, registry: FakeRegistry, repository: string) {
    const [folder, scanner] = [await createTempFolder(t), await SiteScanner.start(t)];
    const world = new VulnerableWorld(t, { registry, repository, folder, scanner });
    await world.#restart();
    return world;
  }

  private constructor(
    t: ExecutionContext,
    parts: { registry: FakeRegistry; repository: string; folder: string; scanner: SiteScanner },
  ) {
    const { registry, repository, folder, scanner } = parts;
    this.#t = t;
    this.#registry = registry;
    this.#repository = repository;
    this.#folder = folder;
    this.#scanner = scanner;
    this.#images = IMAGES.map((n) => buildImage({ seed: `${repository} ${n}`, layers: [20 + n] }));
    for (const [n, image] of this.#images.entries()) registry.addImage(repository, `v${n}`, image);
    this.#trust(0);
    scanner.databaseAt = dateOf(0);
    scanner.onMetadata = (response) => this.#tell(response);
    scanner.onReport = ({ digest }, response) => {
      if (this.#stuck.has(digest)) response.writeHead(404).end('{}');
    };
  }

  async do(act: VulnerableAct): Promise<void> {
    if (act.do === 'pull') await this.#pull(act);
    else if (act.do === 'database') this.#update(act.found);
    else if (act.do === 'stuck') this.#stuck = new Set(act.images.map((n) => this.#digestOf(n)));
    else if (act.do === 'silence') this.#isSilent = act.is;
    else if (act.do === 'vex') this.#state(act);
    else if (act.do === 'trust') this.#trust(act.to);
    else if (act.do === 'rule') await this.#configure(act.to);
    else if (act.do === 'evict') await this.#evict(act.image);
    else if (act.do === 'restart') await this.#restart();
    else if (act.do === 'wait') this.clock.advance(act.ms);
    else this.clock.setBack(-act.ms);
  }

  /** With everything as it should be everything is admitted: nothing stays refused. */
  async settle(): Promise<void> {
    this.#isSilent = false;
    this.#stuck = new Set();
    this.#update([]);
    await this.#configure(0);
    for (let round = 0; round < 2; round++) {
      this.clock.advance(2 * MAX_AGE);
      for (const image of IMAGES) {
        const { status, body } = await this.#ask(image, 'GET');
        const isRound = round > 0 && status !== 200;
        if (isRound) throw new Error(`${image} stays refused: ${status} ${String(body)}`);
      }
    }
    await this.#mirror?.stop();
  }

  async #pull({ image, by }: Extract<VulnerableAct, { do: 'pull' }>): Promise<void> {
    const { status } = await this.#ask(image, by);
    if (status !== 200) return;
    this.admitted += 1;
    const isFine = this.#serving().some((database) => !this.#isRefusedBy(database, image));
    if (!isFine) throw new Error(`${by} of image ${image} was admitted in spite of its finding`);
  }

  /** Databases whose word counts at this moment: the latest, and those that were overtaken within `maxAge`. */
  #serving(): readonly Database[] {
    const now = this.clock.wall();
    return this.#databases.filter((_, place) => {
      const later = this.#databases.slice(place + 1);
      if (later.length === 0) return true;
      const overtakenAt = Math.min(...later.map(({ toldAt }) => toldAt));
      // While the scanner is silent, and so for as long.
      const until = overtakenAt === Infinity ? this.#heardAt : overtakenAt;
      return now < until + MAX_AGE;
    });
  }

  #isRefusedBy({ found }: Database, image: number): boolean {
    const { until, atMost } = RULES[this.#rule]!;
    if (!found.has(image) || atMost !== undefined) return false;
    if (until !== undefined && this.clock.wall() < Date.parse(until)) return false;
    return !this.#stated.has(`${image} ${this.#trusted}`);
  }

  async #ask(image: number, by: 'GET' | 'HEAD' | 'blob') {
    const { manifest } = this.#images[image]!;
    const base = `${this.#mirror!.url}/v2/${this.#repository}`;
    if (by === 'blob') return get(`${base}/blobs/${this.#images[image]!.layer(0).digest}`);
    return get(`${base}/manifests/${manifest.digest}`, { method: by });
  }

  #tell(response: Parameters<NonNullable<SiteScanner['onMetadata']>>[0]): void {
    if (this.#isSilent) return void response.writeHead(503).end();
    const now = this.clock.wall();
    const current = this.#databases.at(-1)!;
    current.toldAt = Math.min(current.toldAt, now);
    this.#heardAt = now;
    response.end(this.#scanner.description());
  }

  #update(found: readonly number[]): void {
    const at = dateOf(this.#databases.length);
    this.#databases.push({ at, found: new Set(found), toldAt: Infinity });
    this.#scanner.databaseAt = at;
    this.#scanner.findings.clear();
    for (const image of found) this.#scanner.findings.set(this.#digestOf(image), [{ id: CVE }]);
  }

  #state({ image, by }: Extract<VulnerableAct, { do: 'vex' }>): void {
    const { manifest } = this.#images[image]!;
    const [, sum = ''] = manifest.digest.split(':');
    const predicate = {
      '@context': 'https://openvex.dev/ns/v0.2.0',
      '@id': `https://example.com/vex/${image}`,
      author: 'us',
      timestamp: '2029-12-31T00:00:00Z',
      statements: [
        {
          vulnerability: { name: CVE },
          products: [{ '@id': 'image', hashes: { 'sha-256': sum } }],
          status: 'not_affected',
          justification: 'vulnerable_code_not_present',
        },
      ],
    };
    const bundle = SIGNERS[by]!.bundle(manifest, 'https://openvex.dev/ns/v0.2.0', predicate);
    attachBundle(this.#registry, { repository: this.#repository, image: manifest, bundle });
    this.#stated.add(`${image} ${by}`);
  }

  #trust(to: number): void {
    this.#trusted = to;
    writeFileSync(join(this.#folder, 'release.pub'), SIGNERS[to]!.pem);
  }

  async #evict(image: number): Promise<void> {
    await this.#mirror!.idle();
    const target = { upstream: UPSTREAM, repository: parseRepository(this.#repository) };
    const unit = unitOf(target, parseDigest(this.#digestOf(image)));
    await this.#mirror!.server.catalog.evict(unit);
  }

  #digestOf(image: number): string {
    return this.#images[image]!.manifest.digest;
  }

  async #configure(rule: number): Promise<void> {
    this.#rule = rule;
    await this.#mirror!.reload(this.#options);
  }

  async #restart(): Promise<void> {
    await this.#mirror?.stop();
    this.#mirror = await startMirror(this.#t, this.#options);
  }

  get #options(): MirrorOptions {
    const { until, atMost = STRICT.atMost } = RULES[this.#rule]!;
    const exception = { cve: CVE, reason: 'not reached', owner: 'team-a' };
    const admission: AdmissionConfig = {
      trust: { keys: { release: { file: join(this.#folder, 'release.pub') } } },
      scanner: { ...this.#scanner.settings, maxAge: MAX_AGE },
      rules: [
        {
          images: ['**'],
          mode: 'enforce',
          attestedBy: [{ key: 'release' }],
          vulnerabilities: { ...STRICT, atMost },
          ...(until !== undefined && { exceptions: [{ ...exception, until }] }),
        },
      ],
    };
    return {
      upstreams: { [UPSTREAM]: { url: this.#registry.url } },
      storePath: join(this.#folder, 'store'),
      clock: this.clock,
      admission,
    };
  }
}

/** A database is a minute younger than the one before. */
function dateOf(place: number): string {
  return new Date(START - 10 * HOUR + place * MINUTE).toISOString();
}
