import { X509Certificate } from 'node:crypto';
import { resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import * as z from 'zod';
import { ConfigError } from './problems.ts';
import { converted } from './section.ts';
import { readTextFile, type Source } from './source.ts';
import { TEXTS } from './texts.ts';

export interface PemFile {
  /** Absolute. */
  readonly path: string;
  readonly contents: string;
}

/** Of each key of `tls` that names a file, its path or what it holds. */
export interface TlsTexts {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

const MARK = '-----BEGIN ';
const BEGIN = /-----BEGIN (?:TRUSTED )?CERTIFICATE-----/g;
const BLOCK = /-----BEGIN ((?:TRUSTED )?CERTIFICATE)-----[^-]+-----END \1-----/g;

/** The path of a PEM file; its contents are kept beside it, since it is read again when it changes. */
export function pemSchema({ directory }: Source, read = readPemFile) {
  return z
    .string({ error: TEXTS.pemPath })
    .meta({ title: 'PEM file' })
    .transform(converted((path: string) => read(path, directory)));
}

/** Throws a `ConfigError` when the file cannot be read or holds no PEM block. */
export function readPemFile(path: string, directory: string): PemFile {
  if (path.includes(MARK)) throw new ConfigError([TEXTS.pemContents]);
  const absolute = resolve(directory, path);
  const contents = readTextFile(absolute);
  if (!contents.includes(MARK)) throw new ConfigError([TEXTS.notPem({ path: absolute })]);
  return { path: absolute, contents };
}

/** A file of authorities. Throws a `ConfigError` as `readPemFile` and `checkAuthorities` do. */
export function readAuthorities(path: string, directory: string): PemFile {
  const file = readPemFile(path, directory);
  checkAuthorities(file);
  return file;
}

/** Throws a `ConfigError` unless the PEM texts are a certificate and its key. */
export function checkKeyPair(cert: string, key: string): void {
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    const { code = 'no code' } = error as NodeJS.ErrnoException;
    throw new ConfigError(
      [
        code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH'
          ? TEXTS.keyOfOther
          : TEXTS.keyPairUnusable({ code }),
      ],
      { cause: error },
    );
  }
}

/** Authorities by which the certificates of clients are verified. */
export interface ClientAuthorities {
  readonly pem: string;
  /** Of each, its SHA-256 as Node writes it. */
  readonly fingerprints: readonly string[];
}

/** What such a file holds now. Throws a `ConfigError` unless one of them at least is a root. */
export function readClientAuthorities(path: string): ClientAuthorities {
  const file = readAuthorities(path, '/');
  const all = blocksOf(file).map((pem) => new X509Certificate(pem));
  // TLS verifies up to a certificate that signs itself, and to nothing below.
  if (!all.some((each) => each.checkIssued(each))) {
    throw new ConfigError([TEXTS.noRoot({ path })]);
  }
  return { pem: file.contents, fingerprints: all.map(({ fingerprint256 }) => fingerprint256) };
}

/** Throws a `ConfigError` unless the PEM text is certificates, each of them whole: TLS passes over others. */
export function checkAuthorities(file: PemFile): void {
  const { path, contents } = file;
  const blocks = blocksOf(file);
  const begun = contents.match(BEGIN)?.length ?? 0;
  const isWhole = blocks.length > 0 && blocks.length === begun && blocks.every(isCertificate);
  if (!isWhole) throw new ConfigError([TEXTS.notCertificates({ path })]);
}

function blocksOf({ contents }: PemFile): readonly string[] {
  return contents.match(BLOCK) ?? [];
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}

/** What the files hold now. Throws a `ConfigError` unless TLS can use all of it. */
export function readTlsFiles(paths: TlsTexts): TlsTexts {
  const read = (path?: string): PemFile | undefined =>
    path === undefined ? undefined : readPemFile(path, '/');
  const [ca, cert, key] = [read(paths.ca), read(paths.cert), read(paths.key)];
  if (ca) checkAuthorities(ca);
  if (cert && key) checkKeyPair(cert.contents, key.contents);
  return { ca: ca?.contents, cert: cert?.contents, key: key?.contents };
}
