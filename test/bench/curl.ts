import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Download {
  readonly seconds: number;
  readonly bytes: number;
}

export interface CurlOptions {
  /** Downloads at a time in this process. Left out: one after the other. */
  readonly parallel?: number;
  /** Of each download. */
  readonly bytesPerSecond?: number;
  /** Each as `Name: value`. */
  readonly headers?: readonly string[];
  /** HTTP/2 where the server offers it; else HTTP/1.1 in any case. */
  readonly isHttp2?: boolean;
  readonly signal?: AbortSignal;
}

/** One process that fetches all these and keeps nothing. Rejects unless every one is complete. */
export async function curl(
  urls: readonly string[],
  { parallel, bytesPerSecond, headers = [], isHttp2 = false, signal }: CurlOptions = {},
): Promise<Download[]> {
  const format = '%{time_total} %{size_download}\n';
  const protocol = isHttp2 ? '--http2' : '--http1.1';
  // A certificate of the bench is its own.
  const args = [
    '--silent',
    '--show-error',
    '--fail',
    '--insecure',
    protocol,
    '--write-out',
    format,
  ];
  if (parallel !== undefined) {
    args.push('--parallel', '--parallel-immediate', '--parallel-max', String(parallel));
  }
  if (bytesPerSecond !== undefined) args.push('--limit-rate', String(bytesPerSecond));
  for (const header of headers) args.push('--header', header);
  for (const url of urls) args.push('--output', '/dev/null', url);
  const { stdout } = await run('curl', args, signal ? { signal } : {});
  return stdout
    .trim()
    .split('\n')
    .map((line) => {
      const [seconds, bytes] = line.split(' ').map(Number);
      return { seconds: seconds ?? NaN, bytes: bytes ?? NaN };
    });
}
