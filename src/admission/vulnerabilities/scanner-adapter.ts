import { UpstreamError } from '../../oci/upstream-error.ts';
import type { Transport, TransportResponse } from '../../net/transport.ts';
import { redact } from '../../observe/secret-shapes.ts';
import { parseBoundedJson, textOf, isRecord } from './bounded-json.ts';
import { METADATA, SCAN_REQUEST, SCAN_RESPONSE } from './media-types.ts';
import { tidy } from './report.ts';
import { ScanFault } from './scan-fault.ts';
import { parseMetadata, type ScannerMetadata } from './scanner-metadata.ts';
import { TEXTS } from './texts.ts';

export interface ScannerAdapterParts {
  /** Of the adapter, without `/api/v1`. */
  readonly url: string;
  /** Of connections to this URL alone; it follows no redirect. */
  readonly transport: Pick<Transport, 'send' | 'startDeadline'>;
  /** What the adapter asks of its clients, if anything: `authorization`, or an API key. */
  readonly login?: (() => Readonly<Record<string, string>>) | undefined;
  /** For one request with all that is read of its answer, whatever comes; two minutes unless given. */
  readonly requestMs?: number | undefined;
}

/** A scan that an adapter is asked for, in the words of its API. */
export interface AdapterScan {
  readonly registry: { readonly url: string; readonly authorization: string };
  readonly artifact: {
    readonly repository: string;
    readonly digest: string;
    readonly mime_type: string;
  };
  readonly enabled_capabilities: readonly {
    readonly type: 'vulnerability';
    readonly produces_mime_types: readonly string[];
  }[];
}

export type ScanAnswer =
  | { readonly kind: 'accepted'; readonly id: string }
  /** It has no capability for this. */
  | { readonly kind: 'incapable'; readonly reason: string };

export type ReportAnswer =
  | {
      readonly kind: 'report';
      readonly document: Readonly<Record<string, unknown>>;
      readonly type: string;
    }
  /** `afterMs`: when the adapter wants to be asked again, from one second to a minute, if it says so. */
  | { readonly kind: 'pending'; readonly afterMs: number | undefined }
  /** The adapter does not know this scan any more. */
  | { readonly kind: 'unknown' }
  /** It gave no answer, and may give one later. */
  | { readonly kind: 'silent'; readonly fault: ScanFault }
  /** It says that the scan failed. */
  | { readonly kind: 'failed'; readonly fault: ScanFault };

interface Asked {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

const BASE = '/api/v1';
const REQUEST_MS = 120_000;
const MIB = 1024 * 1024;
/** A report of 10,000 findings with their descriptions and links takes 10 MiB. */
const REPORT = { bytes: 16 * MIB, depth: 32, items: 1_000_000 };
const SMALL = { bytes: 256 * 1024, depth: 16, items: 20_000 };
const ERROR_BYTES = 8 * 1024;
const MAX_TOLD = 200;
const MAX_ID = 512;
const MIN_PAUSE_SECONDS = 1;
const MAX_PAUSE_SECONDS = 60;
/** What stands in front of an adapter says so while it restarts. */
const AWAY: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/**
 * Speaks Harbor's pluggable scanner API with one adapter. Of a report at most 16 MiB, 32 levels and a
 * million items are read, of any other answer 256 KiB; one request takes two minutes at most. All that
 * goes wrong is a {@link ScanFault}.
 * @see https://github.com/goharbor/pluggable-scanner-spec
 */
export class ScannerAdapter {
  readonly #parts: ScannerAdapterParts;
  readonly #base: string;

  constructor(parts: ScannerAdapterParts) {
    this.#parts = parts;
    const url = new URL(parts.url);
    this.#base = url.origin + url.pathname.replace(/\/+$/, '') + BASE;
  }

  async metadata(signal: AbortSignal): Promise<ScannerMetadata> {
    const wanted = { method: 'GET', path: '/metadata', headers: { accept: METADATA } } as const;
    return this.#ask(wanted, signal, async (answer) => {
      if (answer.status !== 200) throw await this.#refusal(answer);
      return parseMetadata(await this.#read(answer, SMALL));
    });
  }

  /** The adapter works on it from now on. */
  async submit(scan: AdapterScan, signal: AbortSignal): Promise<ScanAnswer> {
    const headers = { 'content-type': SCAN_REQUEST, accept: SCAN_RESPONSE };
    const wanted = { method: 'POST', path: '/scan', headers, body: JSON.stringify(scan) } as const;
    return this.#ask(wanted, signal, async (answer) => {
      if (answer.status === 501) {
        return { kind: 'incapable', reason: (await this.#refusal(answer)).message };
      }
      // Some say 200 or 201; what counts is the identifier.
      if (answer.status < 200 || answer.status > 202) throw await this.#refusal(answer);
      const id = textOf((await this.#read(answer, SMALL))['id'], MAX_ID) ?? '';
      if (!/^[\x21-\x7e]+$/.test(id) || /^\.+$/.test(id)) {
        throw new ScanFault('malformed', TEXTS.noScanId);
      }
      return { kind: 'accepted', id };
    });
  }

  /** `type` goes out byte for byte. */
  async report(id: string, type: string, signal: AbortSignal): Promise<ReportAnswer> {
    const path = `/scan/${encodeURIComponent(id)}/report`;
    const wanted = { method: 'GET', path, headers: { accept: type } } as const;
    try {
      return await this.#ask(wanted, signal, async (answer) => this.#reportOf(answer, id));
    } catch (error) {
      const isSilence =
        error instanceof ScanFault && (error.code === 'unreachable' || error.code === 'timeout');
      if (!isSilence || signal.aborted) throw error;
      return { kind: 'silent', fault: error };
    }
  }

  async #reportOf(answer: TransportResponse, id: string): Promise<ReportAnswer> {
    const { status, headers } = answer;
    if (status === 302) {
      await answer.dump();
      if (!isSameReport(answer, id)) throw redirected(answer);
      return { kind: 'pending', afterMs: pauseOf(headers) };
    }
    if (status === 404) {
      await answer.dump();
      return { kind: 'unknown' };
    }
    if (AWAY.has(status)) return { kind: 'silent', fault: await this.#refusal(answer) };
    if (status === 500) return { kind: 'failed', fault: await this.#refusal(answer) };
    if (status !== 200) throw await this.#refusal(answer);
    const document = await this.#read(answer, REPORT);
    return { kind: 'report', document, type: headers['content-type'] ?? '' };
  }

  /** The answer is read within the work; what is left of it then is not waited for. */
  async #ask<Value>(
    { method, path, headers, body }: Asked,
    signal: AbortSignal,
    work: (answer: TransportResponse) => Promise<Value>,
  ): Promise<Value> {
    const { transport, login, requestMs = REQUEST_MS } = this.#parts;
    const url = new URL(this.#base + path);
    using deadline = transport.startDeadline(url.host);
    const limit = new AbortController();
    const late = new ScanFault('timeout', TEXTS.noEndWithin({ host: url.host, ms: requestMs }));
    const timer = setTimeout(() => limit.abort(late), requestMs);
    try {
      const answer = await transport.send({
        method,
        url,
        headers: { ...login?.(), ...headers },
        ...(body !== undefined && { body }),
        deadline,
        signal: AbortSignal.any([signal, limit.signal]),
      });
      try {
        return await work(answer);
      } finally {
        answer.destroy();
      }
    } catch (error) {
      signal.throwIfAborted();
      limit.signal.throwIfAborted();
      if (!(error instanceof UpstreamError)) throw error;
      throw new ScanFault(error.fault === 'timeout' ? 'timeout' : 'unreachable', error.reason);
    } finally {
      clearTimeout(timer);
    }
  }

  async #read(
    answer: TransportResponse,
    { bytes: limit, ...bounds }: typeof REPORT,
  ): Promise<Readonly<Record<string, unknown>>> {
    const bytes = await answer.read(limit);
    if (!bytes) throw new ScanFault('too-large', TEXTS.tooManyBytes({ most: limit }));
    const parsed = parseBoundedJson(bytes, bounds);
    if (parsed.kind === 'object') return parsed.value;
    if (parsed.kind === 'malformed') throw new ScanFault('malformed', TEXTS.noJson);
    throw new ScanFault('too-large', TEXTS.tooMuch({ of: parsed.of, most: bounds[parsed.of] }));
  }

  /** With what the adapter says about it, without what looks like a secret. */
  async #refusal(answer: TransportResponse): Promise<ScanFault> {
    const { status } = answer;
    if (status >= 300 && status < 400) return redirected(answer);
    const bytes = await answer.readText(ERROR_BYTES);
    const parsed = parseBoundedJson(bytes ?? Buffer.of(), SMALL);
    const error = parsed.kind === 'object' ? parsed.value['error'] : undefined;
    const message = isRecord(error) ? textOf(error['message'], ERROR_BYTES) : undefined;
    const said = redact(tidy(message ?? '')).slice(0, MAX_TOLD);
    const code = status === 401 || status === 403 ? 'unauthorized' : 'failed';
    return new ScanFault(code, TEXTS.answered({ status, said }));
  }
}

function redirected({ headers, status, url }: TransportResponse): ScanFault {
  const to = URL.parse(headers['location'] ?? '', url)?.host ?? '?';
  return new ScanFault('redirected', TEXTS.redirected({ status, to: tidy(to) }));
}

/** Adapters send the way to the report itself; behind a proxy that adds to the path, without that. */
function isSameReport({ headers: { location }, url }: TransportResponse, id: string): boolean {
  if (location === undefined) return true;
  const to = URL.parse(location, url);
  const isHere = to?.host === url.host && /^https?:$/.test(to.protocol);
  return (
    (isHere && to.pathname.endsWith(`/scan/${encodeURIComponent(id)}/report`)) ||
    (isHere && decoded(to.pathname).endsWith(`/scan/${id}/report`))
  );
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** The OpenAPI file has the one header, the README of the API the other; Trivy's adapter sends none. */
function pauseOf({
  'refresh-after': refresh,
  'retry-after': retry,
  date,
}: Readonly<Record<string, string>>): number | undefined {
  const seconds = [refresh, retry]
    .map((text) => secondsOf(text, date))
    .find((each) => each !== undefined);
  if (seconds === undefined) return undefined;
  return Math.min(Math.max(seconds, MIN_PAUSE_SECONDS), MAX_PAUSE_SECONDS) * 1000;
}

function secondsOf(text: string | undefined, date: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\s*-?\d+(?:\.\d+)?\s*$/.test(text)) return Number(text);
  const seconds = (Date.parse(text) - Date.parse(date ?? '')) / 1000;
  return Number.isNaN(seconds) ? undefined : seconds;
}
