import * as z from 'zod';
import { pemSchema, readAuthorities } from './pem.ts';
import { ConfigError } from './problems.ts';
import { duration } from './quantity.ts';
import { bearerSchema } from './secret-schema.ts';
import { mapped, validated } from './section.ts';
import type { Source } from './source.ts';
import { TEXTS } from './texts.ts';

const MINUTE_MS = 60_000;

/** `admission.scanner`: who says what is vulnerable. */
export function scannerSchema(source: Source) {
  const address = z.string().meta({ title: 'URL' });
  return mapped('adapter', {
    adapter: address
      .transform(validated(checkAdapter))
      .exactOptional()
      .describe(
        "Of an adapter of Harbor's pluggable scanner API. Left out: attested scans alone count.",
      ),
    registry: address
      .transform(validated(checkRegistry))
      .exactOptional()
      .describe(
        'Of this mirror, as the adapter reaches it: from there it pulls. Left out: that of listen, by the name of this machine where it listens at all addresses.',
      ),
    ca: pemSchema(source, readAuthorities)
      .exactOptional()
      .describe('The only authority for the certificate of the adapter. Read again on change.'),
    token: bearerSchema(source)
      .exactOptional()
      .describe('What the adapter asks of its clients, as a bearer token.'),
    maxAge: duration
      .refine((ms) => ms >= MINUTE_MS, TEXTS.scannerMaxAge)
      .prefault('24h')
      .describe(
        'So long a verdict serves after another database came, and an attested scan counts.',
      ),
  })
    .exactOptional()
    .describe('Who says what is vulnerable.');
}

/** Of a host alone, or with a path in front of that of the API, as behind a proxy. */
function checkAdapter(text: string): void {
  const { pathname } = parseUrl(text);
  if (/\/api\/v1\/*$/.test(pathname)) throw new ConfigError([TEXTS.scannerApiPath]);
}

/** Adapters make the names of images of its host and port, and would lose a path. */
function checkRegistry(text: string): void {
  if (parseUrl(text).pathname !== '/') throw new ConfigError([TEXTS.scannerRegistryPath]);
}

function parseUrl(text: string): URL {
  const url = URL.parse(text);
  const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:';
  if (isHttp && url.username === '' && url.password === '' && url.search + url.hash === '') {
    return url;
  }
  throw new ConfigError([TEXTS.scannerUrl]);
}
