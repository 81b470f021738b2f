import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface KeyPair {
  readonly key: Buffer;
  readonly cert: Buffer;
}

export interface Certificates {
  /** The authority that signed both; a client trusts the server by it, and the other way round. */
  readonly ca: Buffer;
  /** For `localhost` and `127.0.0.1`. */
  readonly server: KeyPair;
  /** With the common name `test client`. */
  readonly client: KeyPair;
}

/** Fresh throw-away certificates, or `undefined` where there is no `openssl` (Debian package openssl). */
export async function createCertificates(): Promise<Certificates | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'entrepot-certificates-'));
  const file = (name: string): string => join(directory, name);
  try {
    await request(file, 'ca', 'test authority', ['-x509', '-days', '2']);
    await writeFile(file('extensions'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
    const server = await sign(file, 'server', 'localhost');
    const client = await sign(file, 'client', 'test client');
    return { ca: await readFile(file('ca.crt')), server, client };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  } finally {
    await rm(directory, { recursive: true });
  }
}

type Locate = (name: string) => string;

async function sign(file: Locate, name: string, commonName: string): Promise<KeyPair> {
  await request(file, name, commonName, []);
  const authority = ['-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-CAcreateserial'];
  const input = ['-in', file(`${name}.crt`), '-extfile', file('extensions')];
  const output = ['-days', '2', '-out', file(`${name}.crt`)];
  await run('openssl', ['x509', '-req', ...input, ...authority, ...output]);
  return { key: await readFile(file(`${name}.key`)), cert: await readFile(file(`${name}.crt`)) };
}

async function request(
  file: Locate,
  name: string,
  commonName: string,
  extra: readonly string[],
): Promise<void> {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const output = ['-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)];
  await run('openssl', ['req', '-new', ...key, ...output, '-subj', `/CN=${commonName}`, ...extra]);
}
