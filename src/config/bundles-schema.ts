import { createPublicKey } from 'node:crypto';
import * as z from 'zod';
import { readPemFile } from './pem.ts';
import { ConfigError } from './problems.ts';
import { converted, section } from './section.ts';
import type { Source } from './source.ts';
import { TEXTS } from './texts.ts';

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$/;
const MAY = ['images', 'trust'] as const;

/** `bundles`: whose bundles this site takes in. The public keys are read. */
export function bundlesSchema(source: Source) {
  const key = z.strictObject(
    {
      file: z
        .string()
        .min(1, TEXTS.file)
        .meta({ title: 'file' })
        .transform(converted((path: string) => readPublicKey(path, source.directory)))
        .describe('Public key in PEM, as "entrepot bundle keygen" writes it.'),
      may: z
        .array(z.enum(MAY, { error: TEXTS.bundleMay }), { error: TEXTS.bundleMay })
        .min(1, TEXTS.bundleMay)
        .prefault(['images'])
        .describe('What its bundles may bring: images, and trust for files beside images.'),
    },
    { error: ({ code }) => (code === 'invalid_type' ? TEXTS.bundleKey : undefined) },
  );
  return section('trust', {
    trust: z
      .record(z.string().regex(NAME), key, {
        error: ({ code }) => (code === 'invalid_key' ? TEXTS.bundleKeyName : undefined),
      })
      .prefault({})
      .describe('The keys whose bundles are taken in, by names of your own.'),
  });
}

/** Throws a `ConfigError` unless the file holds a public key by which a bundle can be signed. */
function readPublicKey(path: string, directory: string): { path: string; pem: string } {
  const { path: absolute, contents } = readPemFile(path, directory);
  const wrong = TEXTS.notBundleKey({ path: absolute });
  if (contents.includes('PRIVATE KEY')) throw new ConfigError([wrong]);
  try {
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = createPublicKey(contents);
    const isKnown = type === 'ed25519' || (type === 'ec' && details?.namedCurve === 'prime256v1');
    if (isKnown) return { path: absolute, pem: contents };
  } catch (cause) {
    throw new ConfigError([wrong], { cause });
  }
  throw new ConfigError([wrong]);
}
