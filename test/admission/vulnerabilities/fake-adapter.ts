import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { json } from 'node:stream/consumers';
import type { ExecutionContext } from 'ava';
import { Authorities } from '../../../src/net/authorities.ts';
import { DEFAULT_TIMING, type Timing } from '../../../src/net/timing.ts';
import { Transport } from '../../../src/net/transport.ts';
import { ScannerAdapter } from '../../../src/admission/vulnerabilities/scanner-adapter.ts';
import {
  Scans,
  type ScansParts,
  type WantedScan,
} from '../../../src/admission/vulnerabilities/scans.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { Clock } from '../../helpers/clock.ts';
import { serve } from '../../helpers/serve.ts';
import type { AdapterForm, AdapterRequest } from './adapter-form.ts';
import { TRIVY } from './trivy-form.ts';

export const OTHER_DIGEST = `sha256:${'0'.repeat(64)}` as Digest;
/** The image of the scene, which reports are about that were captured. */
export const REPOSITORY = 'hub.example/library/app';
export const DIGEST =
  'sha256:5f50bafb48e9a3a8e7d4e7d11be106c5ba22d8c2c6599bee8ef82c50dc024a9d' as Digest;
export const SUBJECT = { repository: REPOSITORY, digest: DIGEST };
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

/** Answers in place of the form's own way; `undefined`: not this time. */
type Script = (
  request: IncomingMessage,
  response: ServerResponse,
  asked: number,
) => boolean | void | Promise<boolean | void>;

export interface FakeAdapterOptions {
  readonly form?: AdapterForm;
  /** Each answers itself, or says `false` to leave it to the form. */
  readonly onMetadata?: Script;
  readonly onScan?: Script;
  readonly onReport?: Script;
}

export interface Recorded {
  readonly line: string;
  /** As they came, name and value in turn. */
  readonly raw: readonly string[];
  readonly body?: AdapterRequest['body'];
}

/** An adapter on a real socket that does what a form or a test tells it. */
export class FakeAdapter {
  readonly url: URL;
  readonly requests: Recorded[] = [];
  readonly #counts = new Map<string, number>();

  static async start(t: ExecutionContext, options: FakeAdapterOptions = {}): Promise<FakeAdapter> {
    const server = createServer((request, response) => {
      void adapter.#answer(request, response, options);
    });
    const adapter: FakeAdapter = new FakeAdapter(await serve(t, server));
    return adapter;
  }

  private constructor(url: URL) {
    this.url = url;
  }

  /** How often it was asked for such a thing. */
  count(part: string): number {
    return this.requests.filter(({ line }) => line.includes(part)).length;
  }

  /** What came in a header of the last such request, byte for byte. */
  header(part: string, name: string): string | undefined {
    const raw = this.requests.findLast(({ line }) => line.includes(part))?.raw ?? [];
    const at = raw.findIndex((each, index) => index % 2 === 0 && each.toLowerCase() === name);
    return at < 0 ? undefined : raw[at + 1];
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    { form = TRIVY, ...scripts }: FakeAdapterOptions,
  ): Promise<void> {
    const { method = '', url = '', headers } = request;
    const body = method === 'POST' ? ((await json(request)) as AdapterRequest['body']) : undefined;
    this.requests.push({
      line: `${method} ${url}`,
      raw: request.rawHeaders,
      ...(body && { body }),
    });
    const path = new URL(url, this.url).pathname;
    const what =
      path === '/api/v1/metadata' ? 'onMetadata' : path === '/api/v1/scan' ? 'onScan' : 'onReport';
    const asked = (this.#counts.get(what) ?? 0) + 1;
    this.#counts.set(what, asked);
    const script = scripts[what];
    if (script && (await script(request, response, asked)) !== false) return;
    if (what === 'onMetadata') return sendMetadata(response, form);
    if (what === 'onReport') return sendReport(request, response, form);
    const refusal = form.refusal({ headers: headers as Record<string, string>, body: body ?? {} });
    if (refusal) return sendError(response, refusal.status, refusal.message);
    response.writeHead(202, { 'content-type': form.scanResponseType });
    response.end('{"id":"job:123"}');
  }
}

function sendMetadata(response: ServerResponse, form: AdapterForm): void {
  response.writeHead(200, {
    'content-type': 'application/vnd.scanner.adapter.metadata+json; version=1.0',
  });
  // With the line's end that encoders in Go write.
  response.end(`${JSON.stringify(form.metadata)}\n`);
}

function sendReport(request: IncomingMessage, response: ServerResponse, form: AdapterForm): void {
  const { accept = '' } = request.headers;
  if (accept !== form.reportType) {
    return sendError(response, form.wrongTypeStatus, `unsupported media type ${accept}`);
  }
  response.writeHead(200, { 'content-type': accept });
  response.end(form.report(SUBJECT));
}

export function sendError(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, {
    'content-type': 'application/vnd.scanner.adapter.error; version=1.0',
  });
  response.end(JSON.stringify({ error: { message } }));
}

/** Sends a report of these bytes. */
export function sendBytes(response: ServerResponse, bytes: string | Buffer): void {
  response.writeHead(200, { 'content-type': TRIVY.reportType });
  response.end(bytes);
}

export interface ScansScene {
  readonly scans: Scans;
  readonly clock: Clock;
  /** The pauses between requests for a report, milliseconds. */
  readonly pauses: number[];
  readonly scan: (wanted?: Partial<WantedScan>) => ReturnType<Scans['scan']>;
}

export interface ScansOptions extends Partial<ScansParts> {
  readonly timing?: Partial<Timing>;
  readonly requestMs?: number;
  readonly login?: () => Record<string, string>;
}

/** Scans by the real client; between requests for a report no time passes but on the clock. */
export function createScans(
  t: ExecutionContext,
  url: URL,
  { timing, requestMs, login, ...options }: ScansOptions = {},
): ScansScene {
  const clock = new Clock();
  const pauses: number[] = [];
  const transport = new Transport({
    config: {
      name: 'scanner',
      url: url.href,
      tls: { insecure: false, system: false, only: false },
      storage: [],
      realms: [],
    },
    timing: { ...DEFAULT_TIMING, ...timing },
    authorities: new Authorities({ failed: () => {}, renewed: () => {} }),
  });
  const adapter = new ScannerAdapter({ url: url.href, transport, requestMs, login });
  const scans = new Scans({
    adapter,
    registryUrl: 'http://mirror.example:5000',
    clock,
    wait: async (ms, signal) => {
      signal.throwIfAborted();
      pauses.push(ms);
      clock.advance(ms);
    },
    ...options,
  });
  t.teardown(async () => {
    await scans.close();
    await transport.close();
  });
  const wanted = { ...SUBJECT, mediaType: OCI_MANIFEST, credential: async () => 'Bearer abc.def' };
  return { scans, clock, pauses, scan: async (more) => scans.scan({ ...wanted, ...more }) };
}
