import { createPublicKey } from 'node:crypto';
import { resolve } from 'node:path';
import * as z from 'zod';
import { findStores, readStores } from './notation-stores.ts';
import { ConfigError, repeated } from './problems.ts';
import { mapped, section, validated } from './section.ts';
import { readTextFile, type Source } from './source.ts';
import { TEXTS } from './texts.ts';

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$/;

/** `admission.trust`: to whom signatures are traced back. The files of keys and roots are looked at. */
export function admissionTrustSchema(source: Source) {
  const text = z.string().min(1, TEXTS.file).meta({ title: 'file' });
  const absolute = (path: string): string => resolve(source.directory, path);
  const key = z.strictObject(
    {
      file: text
        .transform(validated(checkKeyPath))
        .transform(absolute)
        .transform(validated(checkPublicKey))
        .describe('Public key in PEM, as cosign writes it. Read again on change.'),
    },
    { error: ({ code, input }) => (code === 'invalid_type' ? keyMeant(input) : undefined) },
  );
  return section(
    'keys',
    {
      sigstore: mapped('trustedRoot', {
        trustedRoot: text
          .transform(absolute)
          .transform(validated(checkTrustedRoot))
          .describe('trusted_root.json of a Sigstore. Read again on change.'),
      })
        .exactOptional()
        .describe('To whom signatures without keys are traced back.'),
      keys: z
        .record(z.string().regex(NAME), key, { error: keysMeant })
        .prefault({})
        .describe('Public keys, by names of your own.'),
      notation: mapped('stores', {
        stores: text
          .transform(absolute)
          .transform(validated(checkStores))
          .describe('Folder as Notation lays it out: x509/ca/NAME/*.pem. Read again on change.'),
      })
        .exactOptional()
        .describe('To whom Notation signatures are traced back.'),
    },
    TEXTS.admissionTrust,
  );
}

function keysMeant({ code, input }: { code: string; input?: unknown }): string | undefined {
  if (code === 'invalid_key') return TEXTS.admissionKeyName;
  if (code !== 'invalid_type') return undefined;
  return TEXTS.admissionKeys({ file: pathMeant(input) });
}

function keyMeant(input: unknown): string {
  if (isPem(input)) return TEXTS.admissionKeyItself;
  return TEXTS.mapWith({ key: 'file', value: pathMeant(input) });
}

/** A path as it was written; that of others is told by a name that cosign uses. */
function pathMeant(input: unknown): string {
  const [first = input] = Array.isArray(input) ? (input as unknown[]) : [];
  return typeof first === 'string' && !isPem(first) ? repeated(first) : 'cosign.pub';
}

function isPem(input: unknown): boolean {
  return typeof input === 'string' && input.includes('-----BEGIN');
}

/** What cosign would take, and no file is. */
function checkKeyPath(path: string): void {
  if (isPem(path)) throw new ConfigError([TEXTS.admissionKeyItself]);
  if (/^[a-z0-9]+:\/\//i.test(path)) throw new ConfigError([TEXTS.admissionKeyElsewhere]);
}

function checkPublicKey(path: string): void {
  const text = readTextFile(path);
  try {
    if (text.includes('PRIVATE KEY')) throw new TypeError('a private key');
    createPublicKey(text);
  } catch (cause) {
    throw new ConfigError([TEXTS.notSignerKey({ path })], { cause });
  }
}

function checkStores(folder: string): void {
  readStores(folder, findStores(folder).files);
}

function checkTrustedRoot(path: string): void {
  const text = readTextFile(path);
  try {
    const { mediaType } = JSON.parse(text) as { mediaType?: unknown };
    if (String(mediaType).startsWith('application/vnd.dev.sigstore.trustedroot')) return;
  } catch (cause) {
    throw new ConfigError([TEXTS.notTrustedRoot({ path })], { cause });
  }
  throw new ConfigError([TEXTS.notTrustedRoot({ path })]);
}
