import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const OWN_NAMES = ['DNS:localhost', 'IP:127.0.0.1'];

export interface KeyPair {
  readonly key: Buffer;
  readonly cert: Buffer;
}

export interface Wanted {
  /** Left out, the one of the authority is `test authority` and any other the first name's. */
  readonly commonName?: string;
  /** As in `subjectAltName`. */
  readonly names?: readonly string[];
  /** The subject as openssl takes it, instead of the common name alone. */
  readonly subject?: string;
  /** Further lines of an extension file. */
  readonly extensions?: readonly string[];
  /** Another one that signs it, made before; else the authority. */
  readonly by?: string;
  /** How long it is good; negative, it has ended. */
  readonly days?: number;
}

export interface Certificates {
  /** The authority that signed both; a client trusts the server by it, and the other way round. */
  readonly ca: Buffer;
  /** For `localhost` and `127.0.0.1`. */
  readonly server: KeyPair;
  /** With the common name `test client`. */
  readonly client: KeyPair;
}

/** Fresh throw-away certificates of a fresh authority. */
export async function createCertificates(): Promise<Certificates> {
  const { ca, issued } = await issueCertificates({
    server: { commonName: 'localhost' },
    client: { commonName: 'test client' },
  });
  return { ca, ...issued };
}

/** Certificates of one fresh authority, which is good for a year. Needs the Debian package openssl. */
export async function issueCertificates<Name extends string>(
  wanted: Readonly<Record<Name, Wanted>>,
): Promise<{ ca: Buffer; issued: Record<Name, KeyPair> }> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-certificates-'));
  try {
    const authority = join(folder, 'authority');
    const pathOf = (name: string): string => join(folder, `issued-${name}`);
    await request(authority, '/CN=test authority', ['-x509', '-days', '365']);
    const issued: Partial<Record<Name, KeyPair>> = {};
    for (const name of Object.keys(wanted) as Name[]) {
      const { by } = wanted[name];
      const signer = by === undefined ? authority : pathOf(by);
      issued[name] = await issue(signer, pathOf(name), wanted[name]);
    }
    const ca = await readFile(`${authority}.crt`);
    return { ca, issued: issued as Record<Name, KeyPair> };
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function issue(authority: string, path: string, wanted: Wanted): Promise<KeyPair> {
  const { commonName = 'server', names = OWN_NAMES, days = 2, extensions = [] } = wanted;
  const { subject = `/CN=${commonName}` } = wanted;
  await request(path, subject, ['-utf8']);
  const lines = [...(names.length > 0 ? [`subjectAltName=${names.join(',')}`] : []), ...extensions];
  await writeFile(`${path}.ext`, `${lines.join('\n')}\n`);
  const signer = ['-CA', `${authority}.crt`, '-CAkey', `${authority}.key`, '-CAcreateserial'];
  const input = ['-in', `${path}.crt`, '-extfile', `${path}.ext`];
  const output = ['-days', String(days), '-out', `${path}.crt`];
  await openssl('x509', '-req', ...input, ...signer, ...output);
  return { key: await readFile(`${path}.key`), cert: await readFile(`${path}.crt`) };
}

async function request(path: string, subject: string, extra: readonly string[]): Promise<void> {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const output = ['-keyout', `${path}.key`, '-out', `${path}.crt`];
  await openssl('req', '-new', ...key, ...output, '-subj', subject, ...extra);
}

async function openssl(...args: readonly string[]): Promise<void> {
  try {
    await run('openssl', args);
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw isMissing ? new Error('install the Debian package openssl', { cause: error }) : error;
  }
}
