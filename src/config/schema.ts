import { resolve } from 'node:path';
import * as z from 'zod';
import { accessSchema, checkCertificates } from './access-schema.ts';
import { admissionSchema } from './admission-schema.ts';
import { bundlesSchema } from './bundles-schema.ts';
import { duration, shareSchema, storeSizeSchema } from './quantity.ts';
import {
  adminSchema,
  checkDoors,
  DEFAULT_ADDRESSES,
  listenSchema,
  optionalListenSchema,
} from './listen.ts';
import { logSchema, tracingSchema, trustProxySchema } from './observe-schema.ts';
import {
  DEFAULT_UPSTREAM,
  registryForm,
  WELL_KNOWN_REGISTRIES,
  registryNameMeant,
} from './registries.ts';
import { parsePin, PIN_FORM } from './image.ts';
import { converted, section } from './section.ts';
import type { Source } from './source.ts';
import { syncSchema } from './sync-schema.ts';
import { upstreamSchema } from './upstream-schema.ts';
import { TEXTS } from './texts.ts';

const MAX_GRACE_MS = 3_600_000;

/**
 * The configuration file. The secrets and certificates that it names are read too, so that all
 * problems are told at once with their paths.
 */
export function configSchema(source: Source) {
  return z
    .strictObject(
      {
        listen: listenSchema(source, DEFAULT_ADDRESSES.listen).describe('Where clients pull from.'),
        admin: adminSchema(source, DEFAULT_ADDRESSES.admin).describe(
          'Where /healthz, /readyz, /metrics and the API are.',
        ),
        metrics: section('listen', {
          listen: optionalListenSchema(source).describe(
            'Where /metrics, /healthz and /readyz are as well, and nothing else.',
          ),
        })
          .exactOptional()
          .describe('For scrapers and probes on a network.'),
        trustProxy: trustProxySchema.describe(
          'Proxies in front, whose X-Forwarded-For and X-Forwarded-Host count: addresses and ranges.',
        ),
        log: logSchema(source).describe('What is written to standard output, and of who did what.'),
        tracing: tracingSchema.describe('Where spans of requests are sent.'),
        grace: duration
          .refine((ms) => ms <= MAX_GRACE_MS, TEXTS.atMost({ limit: '"1h"' }))
          .prefault('8s')
          .describe('How long running answers may take after SIGTERM. At most 1h.'),
        offline: z
          .boolean()
          .default(false)
          .describe('true: never open a connection to an upstream.'),
        store: storeSchema(source).describe('Where what was pulled is kept.'),
        defaultUpstream: z
          .string()
          .meta({ title: 'registry', pattern: registryForm('$') })
          .default(DEFAULT_UPSTREAM)
          .describe('The upstream of a request that names none; one of upstreams.'),
        upstreams: z
          .record(z.string().meta({ pattern: registryForm('$') }), upstreamSchema(source), {
            error: ({ input }) => adviseUpstreams(input),
          })
          .prefault(Object.fromEntries(WELL_KNOWN_REGISTRIES.map(({ name }) => [name, null])))
          .describe('The registries that may be pulled from, and no others.'),
        sync: syncSchema(source).describe('What is fetched ahead of demand, and kept.'),
        access: accessSchema(source).describe('Who may pull what; left out, everybody may.'),
        admission: admissionSchema(source).describe('What may be pulled; left out, all of it may.'),
        bundles: bundlesSchema(source).describe('Bundles that are carried to this site.'),
      },
      { error: ({ code }) => (code === 'invalid_type' ? TEXTS.root : undefined) },
    )
    .check(z.superRefine(checkDoors, { when: () => true }))
    .check(z.superRefine(checkCertificates, { when: () => true }));
}

/** What `configSchema` makes of a valid file. */
export type ConfigDocument = z.output<ReturnType<typeof configSchema>>;

function storeSchema(source: Source) {
  return section('path', {
    path: z
      .string()
      .min(1, TEXTS.folder)
      .meta({ title: 'folder' })
      .transform((path) => resolve(source.directory, path))
      .prefault('./data')
      .describe('Folder of the store.'),
    maxBytes: storeSizeSchema(10)
      .refine((bytes) => bytes > 0, TEXTS.sizeAboveZero)
      .prefault('100GiB')
      .describe('Most bytes below path. Above it, images not pulled for longest go.'),
    maxBlobShare: shareSchema
      .refine((share) => share > 0, TEXTS.shareAboveZero)
      .prefault('50%')
      .describe('Most of maxBytes for one blob. A larger one is passed through and not kept.'),
    minFreeBytes: storeSizeSchema(7)
      .prefault('2GiB')
      .describe('Bytes of the disk to leave free; images go for it too.'),
    durability: z
      .enum(['full', 'rename'], { error: TEXTS.durability })
      .default('full')
      .describe('full: what is stored survives power loss. rename: it survives a killed process.'),
    pins: z
      .array(
        z
          .string()
          .min(1, TEXTS.pin)
          .meta({ title: 'image or pattern', pattern: PIN_FORM })
          .transform(converted(parsePin)),
      )
      .prefault([])
      .describe('Images that are never evicted: names, name:tag, name@digest, or globs of these.'),
    inUse: z
      .string()
      .min(1, TEXTS.file)
      .meta({ title: 'file' })
      .transform((path) => resolve(source.directory, path))
      .exactOptional()
      .describe('File with the images that are in use, one a line: never evicted. Read on change.'),
  });
}

/** A list of registries is a map of them. */
function adviseUpstreams(input: unknown): string {
  const names = (Array.isArray(input) ? input : [input]).map((text: unknown) =>
    typeof text === 'string' ? registryNameMeant(text) : undefined,
  );
  if (names.length === 0 || names.includes(undefined)) return TEXTS.upstreams;
  return TEXTS.upstreamsMap({ entries: names.map((name) => `${name}: ~`).join(', ') });
}

/** The JSON Schema of the file as an operator writes it, for editors. */
export function configJsonSchema() {
  const schema = configSchema({ directory: '.', env: {} }).meta({
    title: 'Entrepot',
    description: 'Configuration of Entrepot, a caching mirror of container registries.',
  });
  return z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      // A key that must be absent is `not: {}` in JSON Schema.
      if (zodSchema instanceof z.ZodUndefined) jsonSchema.not = {};
    },
  });
}
