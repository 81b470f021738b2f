import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from './problems.ts';
import { TEXTS } from './texts.ts';

/** What a certificate in a store may be above: who signs code, an authority of signatures, a clock. */
export const STORE_TYPES = ['ca', 'signingAuthority', 'tsa'] as const;
export type StoreType = (typeof STORE_TYPES)[number];

export interface StoreFile {
  readonly type: StoreType;
  readonly path: string;
}

const MAX_FILES = 512;
const MAX_FILE_BYTES = 2 ** 20;
const MAX_CERTIFICATES = 1_000;
const CERTIFICATE_FILE = /^[^.].*\.(?:pem|crt|cer)$/i;
const BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/**
 * The files of a folder of trust stores as Notation lays it out: `x509/TYPE/NAME/FILE`, with names that end in
 * `.pem`, `.crt` or `.cer`; what else is there is passed over. At most 512. `places`: all folders on the way,
 * where a change of any of them is seen. Unlike Notation's own, links are followed: Kubernetes hands out files so.
 * Throws a `ConfigError` for a folder that cannot be read.
 * @see https://github.com/notaryproject/specifications/blob/main/specs/trust-store-trust-policy.md#trust-store
 */
export function findStores(folder: string): {
  files: readonly StoreFile[];
  places: readonly string[];
} {
  const root = join(folder, 'x509');
  const places = [folder, root];
  const files: StoreFile[] = [];
  for (const type of STORE_TYPES) {
    const ofType = join(root, type);
    places.push(ofType);
    for (const name of list(ofType, root)) {
      const store = join(ofType, name);
      if (name.startsWith('.') || !isFolder(store)) continue;
      places.push(store);
      const found = list(store).filter((file) => CERTIFICATE_FILE.test(file));
      files.push(...found.map((file) => ({ type, path: join(store, file) })));
    }
  }
  if (files.length > MAX_FILES) {
    throw new ConfigError([TEXTS.storesTooMany({ path: folder, most: MAX_FILES })]);
  }
  return { files, places };
}

/**
 * Of each file all certificates, in PEM or DER: at least one a file, 1,000 together, 1 MiB a file. Each is of an
 * authority or signed by itself, one of a clock both. Throws a `ConfigError` with the path.
 */
export function readStores(
  folder: string,
  files: readonly StoreFile[],
): readonly (StoreFile & { readonly certificate: X509Certificate })[] {
  const found = files.flatMap(({ type, path }) =>
    readCertificates(path).map((certificate) => ({ type, path, certificate })),
  );
  const unfit = found.find(({ type, certificate }) => !isFit(type, certificate));
  if (unfit) throw new ConfigError([TEXTS.unfitCertificate(unfit)]);
  if (found.length === 0) throw new ConfigError([TEXTS.storesEmpty({ path: folder })]);
  if (found.length > MAX_CERTIFICATES) {
    throw new ConfigError([TEXTS.storesTooMany({ path: folder, most: MAX_CERTIFICATES })]);
  }
  return found;
}

function readCertificates(path: string): readonly X509Certificate[] {
  try {
    const { size } = statSync(path);
    if (size > MAX_FILE_BYTES) throw new Error('too long');
    const bytes = readFileSync(path);
    const blocks = bytes.toString('latin1').match(BLOCK);
    return (blocks ?? [bytes]).map((block) => new X509Certificate(block));
  } catch (cause) {
    throw new ConfigError([TEXTS.notStoreCertificate({ path })], { cause });
  }
}

function isFit(type: StoreType, certificate: X509Certificate): boolean {
  const { ca, issuer, subject, publicKey } = certificate;
  const isRoot = issuer === subject && certificate.verify(publicKey);
  return type === 'tsa' ? isRoot && ca : isRoot || ca;
}

/** A folder that is missing is empty where the one above it is there. */
function list(folder: string, above?: string): readonly string[] {
  try {
    return readdirSync(folder).toSorted();
  } catch (cause) {
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    if (isMissing && above !== undefined && isFolder(above)) return [];
    throw new ConfigError([TEXTS.noStores({ path: folder })], { cause });
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
