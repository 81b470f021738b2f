import * as z from 'zod';
import { ConfigError } from './problems.ts';
import { credentialsSchema, type CredentialsDocument } from './credentials-schema.ts';
import { GLOB_FORM, parseGlob, parseTagGlob } from './glob.ts';
import { HOST_ENTRY_FORM, parseHostEntry } from './host-list.ts';
import { checkKeyPair, pemSchema, readAuthorities, type PemFile } from './pem.ts';
import type { Source, Environment } from './source.ts';
import { findProxy, parseProxyUrl, proxyVariables } from './proxy.ts';
import {
  HOST_FORM,
  URL_FORM,
  parseHost,
  DOCKER_HUB,
  canonicalRegistryName,
  findEcrRegion,
  registryOf,
} from './registries.ts';
import { validated, converted, section } from './section.ts';
import { parseUpstreamUrl } from './upstream-url.ts';
import { TEXTS } from './texts.ts';
import { duration, durationOrForever, rate } from './quantity.ts';

const MAX_REVALIDATE_TIMEOUT_MS = 3_600_000;
const MAX_SEGMENTS = 16;

const tagsSchema = section('ttl', {
  ttl: durationOrForever
    .prefault('5m')
    .describe('How long a tag is answered without asking upstream.'),
  revalidateTimeout: duration
    .refine((ms) => ms > 0, TEXTS.revalidateAtOnce)
    .refine((ms) => ms <= MAX_REVALIDATE_TIMEOUT_MS, TEXTS.atMost({ limit: '"1h"' }))
    .prefault('2s')
    .describe('How long a client waits for upstream when a copy is held. At most 1h.'),
  staleIfError: durationOrForever
    .prefault('forever')
    .describe('How old a held tag may be and still be answered when upstream fails.'),
  staleWhileRevalidate: durationOrForever
    .prefault('0s')
    .describe('How long past the ttl a held tag is answered at once while upstream is asked.'),
  negativeTtl: duration.prefault('30s').describe("How long upstream's 404 is believed."),
  immutable: z
    .array(
      z
        .string()
        .regex(/.:./, { error: TEXTS.tagGlob })
        .meta({ title: 'pattern' })
        .transform(validated(parseTagGlob)),
    )
    .prefault([])
    .describe('Patterns of repository:tag that are never asked for again once they are held.'),
});

const segmentsSchema = z
  .union([z.literal('auto', { error: TEXTS.segments }), z.int({ error: TEXTS.segments })])
  .refine((most) => most === 'auto' || (most >= 1 && most <= MAX_SEGMENTS), TEXTS.segments)
  .default('auto')
  .describe(
    'Connections for one blob from 32 MiB on, which take places that nobody else wants. auto: more as long as that makes it faster. A number: so many; 1: no more than one.',
  );

const rangesSchema = z
  .enum(['auto', 'whole', 'sparse'], { error: TEXTS.ranges })
  .default('auto')
  .describe(
    'What a range of a blob that is not here fetches. auto: what a lazy client asks for, and the rest once 30 % are here, where hydrate is on; all of it for who reads on to the end. whole: all of it. sparse: no more than what is asked for.',
  );

const hydrateSchema = z
  .union([z.boolean(), z.enum(['blob', 'head', 'off'])], {
    error: 'write blob, head or off',
  })
  .default('blob')
  .transform((mode) => (typeof mode === 'string' ? mode : mode ? 'blob' : 'off'))
  .describe(
    'What is fetched in the background. blob (or true): what an image has of which a client asked for a blob, and manifests of tags that are only asked for by HEAD; head: all of what was only asked for by its manifest too; off (or false): nothing.',
  );

/** One entry of `upstreams`; `~` and `{}` take every default. */
export function upstreamSchema(source: Source) {
  return section('url', {
    url: z
      .string()
      .meta({ title: 'URL', pattern: URL_FORM })
      .transform(converted(parseUpstreamUrl))
      .exactOptional()
      .describe(
        'Base URL without /v2. Built in for well-known names, else https:// and the name. For a mirror of several registries: https://HOST/v2/PREFIX or https://HOST/?ns=REGISTRY.',
      ),
    credentials: credentialsSchema(source)
      .nullish()
      .describe(
        'Account that pulls from this upstream, or a list of such, used in turn. Left out: anonymous.',
      ),
    tls: tlsSchema(source).describe("How the upstream's certificate is checked."),
    proxy: z
      .string()
      .meta({ title: 'URL' })
      .transform(converted(parseProxyUrl))
      .exactOptional()
      .describe(
        'Proxy on the way to this upstream, its token service and its storage, but for hosts in NO_PROXY. Left out: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, for each host by itself.',
      ),
    hosts: z
      .array(z.string().meta({ title: 'host', pattern: HOST_FORM }).transform(converted(parseHost)))
      .prefault([])
      .describe("Values of a request's Host header that mean this upstream."),
    storage: hostEntries().describe(
      'Hosts (also *.host) and ranges of addresses inside the network that its redirects may lead to.',
    ),
    realms: hostEntries().describe(
      'Hosts (also *.host) and ranges of addresses that its tokens may come from beside its own domain; its credentials go there.',
    ),
    allow: patterns()
      .min(1, TEXTS.allowNothing)
      .prefault(['**'])
      .describe('Patterns of the repositories that may be pulled.'),
    deny: patterns().prefault([]).describe('Patterns of repositories that may not be pulled.'),
    concurrency: z
      .int({ error: TEXTS.asCount })
      .min(1, TEXTS.asCount)
      .default(8)
      .describe('Blob transfers from this upstream at a time.'),
    segments: segmentsSchema,
    ranges: rangesSchema,
    bandwidth: rate(TEXTS.rate)
      .exactOptional()
      .describe('Most bytes a second from this upstream. Left out: no limit.'),
    hydrate: hydrateSchema,
    tags: tagsSchema.describe('How long what a tag means is believed.'),
  });
}

function hostEntries() {
  return z
    .array(
      z
        .string()
        .meta({ title: 'host or range', pattern: HOST_ENTRY_FORM })
        .transform(validated(parseHostEntry)),
    )
    .prefault([]);
}

function patterns() {
  return z.array(
    z
      .string()
      .min(1, TEXTS.repositoryGlob)
      .meta({ title: 'pattern', pattern: GLOB_FORM })
      .transform(validated(parseGlob)),
  );
}

function tlsSchema(source: Source) {
  const pem = pemSchema(source).exactOptional();
  return section('ca', {
    ca: pemSchema(source, readAuthorities)
      .exactOptional()
      .describe(
        'PEM file of authorities to trust for this upstream, beside the public ones and those of the system.',
      ),
    only: z
      .boolean()
      .default(false)
      .describe(
        'true: of this upstream, and of hosts under storage and realms, those of ca alone count.',
      ),
    system: z
      .boolean()
      .default(true)
      .describe(
        "The authorities of the system's store count: SSL_CERT_FILE, SSL_CERT_DIR, /etc/ssl.",
      ),
    cert: pem.describe('PEM file of the certificate to show to the upstream.'),
    key: pem.describe("PEM file of that certificate's key."),
    insecure: z.boolean().default(false).describe('true: accept any certificate.'),
  }).transform(converted(checkTls));
}

interface TlsDocument {
  readonly ca?: PemFile;
  readonly cert?: PemFile;
  readonly key?: PemFile;
  readonly only: boolean;
  readonly system: boolean;
  readonly insecure: boolean;
}

function checkTls({ ca, cert, key, ...rest }: TlsDocument) {
  if (rest.only && !ca) throw new ConfigError([TEXTS.onlyWithoutCa]);
  if (!cert !== !key) throw new ConfigError([TEXTS.keyPairHalf]);
  if (cert && key) checkKeyPair(cert.contents, key.contents);
  const files = {
    ...(ca && { ca: ca.path }),
    ...(cert && key && { cert: cert.path, key: key.path }),
  };
  return {
    ...rest,
    ...(ca && { ca: ca.contents }),
    ...(cert && key && { cert: cert.contents, key: key.contents }),
    ...(Object.keys(files).length > 0 && { files }),
  };
}

/** The upstream of the file with the defaults that depend on its name and the environment. */
export function resolveUpstream(
  name: string,
  upstream: z.output<ReturnType<typeof upstreamSchema>>,
  env: Environment,
) {
  const { url, credentials, proxy, bandwidth, tags, ...rest } = upstream;
  const place = url ?? { url: registryOf(name).url };
  // A variable that is no proxy stops the start where the registry itself needs it.
  if (proxy === undefined) findProxy(place.url, env);
  const environment = proxyVariables(env);
  return {
    ...rest,
    name,
    ...place,
    credentials: (credentials ?? []).map((entry) => resolveCredentials(entry, place.url)),
    ...(proxy !== undefined && { proxy }),
    ...(environment && { environment }),
    ...(bandwidth !== undefined && { bytesPerSecond: bandwidth }),
    tags: {
      ttlMs: tags.ttl,
      revalidateTimeoutMs: tags.revalidateTimeout,
      staleIfErrorMs: tags.staleIfError,
      staleWhileRevalidateMs: tags.staleWhileRevalidate,
      negativeTtlMs: tags.negativeTtl,
      immutable: tags.immutable,
    },
  };
}

/** The name of Docker Hub in the files of `docker login`. */
const DOCKER_HUB_SERVER = 'https://index.docker.io/v1/';

/**
 * The credentials with the defaults of the upstream's URL. `findConflicts` has refused an entry
 * without a region.
 */
function resolveCredentials(entry: CredentialsDocument, url: string) {
  const { provider } = entry;
  if (provider === 'ecr') return { ...entry, region: entry.region ?? findEcrRegion(url) ?? '' };
  if (provider !== 'helper' && provider !== 'docker-config') return entry;
  return { ...entry, server: entry.server ?? serverOf(url) };
}

/** The server of the host that is dialled, so that no other one's account goes there. */
function serverOf(url: string): string {
  const { host } = new URL(url);
  return canonicalRegistryName(host) === DOCKER_HUB ? DOCKER_HUB_SERVER : host;
}
