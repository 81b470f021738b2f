import { resolve } from 'node:path';
import * as z from 'zod';
import { parseAddress } from './host-list.ts';
import { ConfigError } from './problems.ts';
import { formatShare, SHARE, shareSchema } from './quantity.ts';
import { converted, section, validated } from './section.ts';
import type { Source } from './source.ts';
import { TEXTS } from './texts.ts';

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;

/** What others call a level. */
const LEVEL_MEANT: Readonly<Record<string, (typeof LEVELS)[number]>> = {
  trace: 'debug',
  verbose: 'debug',
  information: 'info',
  notice: 'info',
  warning: 'warn',
  err: 'error',
  fatal: 'error',
  panic: 'error',
};

/** `log`; more of what is written, and where to, is a key of it. */
export const logSchema = (source: Source) =>
  section('level', {
    level: z
      .enum(LEVELS, { error: ({ input }) => adviseLevel(input) })
      .default('info')
      .describe('Lines below it are left out.'),
    access: z
      .union(
        [
          z.boolean().transform(Number),
          z.string().regex(SHARE, TEXTS.access).meta({ title: 'share' }).pipe(shareSchema),
        ],
        {
          error: ({ input }) => adviseAccess(input),
        },
      )
      .prefault(true)
      .describe(
        'A line for each request, for none, or for a share such as 10%. Errors have one always.',
      ),
    audit: z
      .string({ error: TEXTS.file })
      .min(1, TEXTS.file)
      .meta({ title: 'file' })
      .transform((path) => resolve(source.directory, path))
      .exactOptional()
      .describe(
        'A file of its own, with a line of JSON for each pull, refusal, login and change: who, what, when. Left out: none.',
      ),
  });

function adviseLevel(input: unknown): string {
  const word = String(input).toLowerCase();
  const meant = LEVELS.find((level) => level === word) ?? LEVEL_MEANT[word];
  return meant ? TEXTS.writeName({ name: meant }) : TEXTS.logLevel({ levels: LEVELS.join(', ') });
}

function adviseAccess(input: unknown): string {
  const isShare = typeof input === 'number' && input > 0 && input < 1;
  return isShare ? TEXTS.writeName({ name: formatShare(input) }) : TEXTS.access;
}

/** As `log.access` is written. */
export function formatAccess(share: number): boolean | string {
  return share === 0 || share === 1 ? share === 1 : formatShare(share);
}

/** The written form of a collector's URL, for editors. */
const COLLECTOR = '^https?://[^/?#@]+/[^?#]+$';

export const tracingSchema = section('otlp', {
  otlp: z
    .string()
    .meta({ title: 'URL', pattern: COLLECTOR })
    .transform(converted(parseCollector))
    .exactOptional()
    .describe('URL that takes OTLP over HTTP. Left out: no spans.'),
});

/** Says nothing of a URL that may hold a password. */
function parseCollector(text: string): string {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) throw new ConfigError([TEXTS.otlp]);
  if (`${url.username}${url.password}${url.search}${url.hash}` !== '') {
    throw new ConfigError([TEXTS.otlpWithSecret]);
  }
  if (url.pathname === '/') url.pathname = '/v1/traces';
  if (url.port === '4317') {
    url.port = '4318';
    throw new ConfigError([TEXTS.otlpGrpc({ url: url.href })]);
  }
  if (!text.endsWith(url.pathname)) throw new ConfigError([TEXTS.writeName({ name: url.href })]);
  return url.href;
}

/** The written form of addresses and ranges, for editors. */
const RANGE =
  '^[\\d.]+(?:/(?:[12]?\\d|3[0-2]))?$|^\\[?[\\dA-Fa-f.]*:[\\dA-Fa-f.]*:[\\dA-Fa-f:.]*\\]?(?:/\\d{1,3})?$';

/** `trustProxy`: addresses and ranges, of which names are none. */
export const trustProxySchema = z
  .array(
    z
      .string({ error: TEXTS.proxies })
      .meta({ title: 'address or range', pattern: RANGE })
      .transform(validated(checkProxy)),
    {
      error: ({ input }) => (typeof input === 'string' ? undefined : TEXTS.proxies),
    },
  )
  .prefault([]);

function checkProxy(text: string): void {
  const range = parseAddress(text);
  if (!range) throw new ConfigError([TEXTS.proxies]);
}
