import type { ServerResponse } from 'node:http';
import type { ExecutionContext } from 'ava';
import { get } from '../helpers/client.ts';
import { HOUR } from '../helpers/clock.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { startScene, UPSTREAM, type Scene, type SceneOptions } from '../helpers/scene.ts';
import type { AdmissionConfig } from './guarded.ts';
import { KeyHolder } from './signing.ts';
import { FakeAdapter, sendBytes } from './vulnerabilities/fake-adapter.ts';
import { TRIVY } from './vulnerabilities/trivy-form.ts';

type Rule = AdmissionConfig['rules'][number];
type Vulnerabilities = NonNullable<Rule['vulnerabilities']>;

/** A scan as the scanner was asked for it. */
export interface AskedScan {
  readonly repository: string;
  readonly digest: string;
  readonly type: string;
  /** With which it comes in at the mirror. */
  readonly authorization: string;
}

export interface Vulnerable {
  readonly id: string;
  readonly severity?: string;
  readonly fix?: string;
}

type Answer = (scan: AskedScan, response: ServerResponse) => Promise<void> | void;

/** A scanner that finds what a test says. */
export class SiteScanner {
  /** Of digests; nothing is found in others. */
  readonly findings = new Map<string, readonly Vulnerable[]>();
  readonly scans: AskedScan[] = [];
  /** When its database was made. */
  databaseAt = '2029-12-31T06:00:00Z';
  /** Types of SBOMs that it reads, beside images. */
  reads: readonly string[] = [];
  /** With what it says that it comes in. */
  scheme: 'Basic' | 'Bearer' = 'Bearer';
  /** In place of a report, and of what it says of itself. */
  onReport: Answer | undefined;
  onMetadata: ((response: ServerResponse) => void) | undefined;
  adapter!: FakeAdapter;

  static async start(t: ExecutionContext): Promise<SiteScanner> {
    const scanner = new SiteScanner();
    scanner.adapter = await FakeAdapter.start(t, {
      onMetadata: (_, response) => scanner.#describe(response),
      onScan: (_, response) => scanner.#accept(response),
      onReport: async (request, response) => scanner.#report(request.url ?? '', response),
    });
    return scanner;
  }

  /** As a mirror has it configured. */
  get settings(): NonNullable<AdmissionConfig['scanner']> {
    const adapter = this.adapter.url.href;
    return { adapter, registry: 'http://mirror.example:5000', maxAge: 24 * HOUR };
  }

  reportOn({ repository, digest }: Pick<AskedScan, 'repository' | 'digest'>): object {
    const vulnerabilities = (this.findings.get(digest) ?? []).map(({ id, severity, fix }) => ({
      id,
      package: 'libexpat1',
      version: '2.5.0-1',
      ...(fix !== undefined && { fix_version: fix }),
      severity: severity ?? 'Critical',
      links: [],
    }));
    const report = TRIVY.cleanReport({ repository, digest: digest as never });
    return { ...(JSON.parse(report) as object), vulnerabilities };
  }

  #describe(response: ServerResponse): boolean {
    if (this.onMetadata) this.onMetadata(response);
    else response.end(this.description());
    return true;
  }

  /** What it says of itself. */
  description(): string {
    const { properties, capabilities, ...rest } = TRIVY.metadata as {
      readonly properties: object;
      readonly capabilities: readonly [{ readonly consumes_mime_types: readonly string[] }];
    };
    const [first] = capabilities;
    const consumes_mime_types = [...first.consumes_mime_types, ...this.reads];
    const own = {
      'harbor.scanner-adapter/vulnerability-database-updated-at': this.databaseAt,
      'harbor.scanner-adapter/registry-authorization-type': this.scheme,
    };
    const able = { capabilities: [{ ...first, consumes_mime_types }] };
    return JSON.stringify({ ...rest, ...able, properties: { ...properties, ...own } });
  }

  #accept(response: ServerResponse): boolean {
    const { registry, artifact } = this.adapter.requests.at(-1)?.body ?? {};
    const { repository = '', digest = '', mime_type: type = '' } = artifact ?? {};
    this.scans.push({ repository, digest, type, authorization: registry?.authorization ?? '' });
    response.writeHead(202, { 'content-type': TRIVY.scanResponseType });
    response.end(JSON.stringify({ id: `job-${this.scans.length - 1}` }));
    return true;
  }

  async #report(url: string, response: ServerResponse): Promise<boolean> {
    const scan = this.scans[Number(/job-(\d+)/.exec(url)?.[1])]!;
    if (this.onReport) await this.onReport(scan, response);
    if (!response.headersSent) sendBytes(response, JSON.stringify(this.reportOn(scan)));
    return true;
  }
}

export interface ScannedScene extends Scene {
  readonly scanner: SiteScanner;
  readonly signer: KeyHolder;
  readonly folder: string;
  readonly admission: AdmissionConfig;
  /** The configuration with other words for the rule. */
  readonly ruled: (rule: RuleChange) => AdmissionConfig;
}

export interface RuleChange extends Partial<Omit<Rule, 'vulnerabilities'>> {
  readonly vulnerabilities?: Partial<Vulnerabilities>;
}

export interface ScannedOptions extends SceneOptions {
  readonly rule?: RuleChange;
  /** Of the configuration; `undefined`: there is none. */
  readonly scan?: Partial<NonNullable<AdmissionConfig['scanner']>> | undefined;
}

/** A mirror that asks a scanner about everything of its upstream: nothing above medium may be in it. */
export async function startScanned(
  t: ExecutionContext,
  { rule = {}, ...options }: ScannedOptions = {},
): Promise<ScannedScene> {
  const folder = await createTempFolder(t);
  const signer = new KeyHolder();
  const scanner = await SiteScanner.start(t);
  const file = signer.writeKey(folder);
  const own = { ...scanner.settings, ...options.scan };
  const isScanned = !('scan' in options) || options.scan !== undefined;
  const ruled = ({ vulnerabilities, ...change }: RuleChange): AdmissionConfig => ({
    trust: { keys: { release: { file } } },
    ...(isScanned && { scanner: own }),
    rules: [
      {
        images: [`${UPSTREAM}/**`],
        mode: 'enforce',
        vulnerabilities: { ...STRICT, ...vulnerabilities },
        ...change,
      },
    ],
  });
  const admission = ruled(rule);
  const scene = await startScene(t, { admission, ...options });
  return { ...scene, scanner, signer, folder, admission, ruled };
}

/** Nothing above medium, and what nobody knows is refused. */
export const STRICT: Vulnerabilities = {
  atMost: 'medium',
  fixableOnly: false,
  vex: [],
  unscannable: 'deny',
  onError: 'deny',
  onMissing: 'deny',
};

/** Asks the mirror as the scanner does. */
export async function pullAs(
  { mirror }: Scene,
  { authorization }: Pick<AskedScan, 'authorization'>,
  path: string,
  method = 'GET',
): Promise<{ readonly status: number; readonly body: Buffer }> {
  return get(`${mirror.url}${path}`, { method, headers: { authorization } });
}
