import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { KeyPair } from '../helpers/certificate.ts';

const run = promisify(execFile);

export interface OddCertificates {
  readonly ca: string;
  /** For `127.0.0.1` and `localhost`, good for 90 days. */
  readonly lasting: KeyPair;
  /** The same, for 5 days. */
  readonly ending: KeyPair;
  /** The same, over since a day. */
  readonly expired: KeyPair;
  /** For `other.example` only. */
  readonly foreign: KeyPair;
}

/** Certificates of one authority in all states; `undefined` where there is no `openssl`. */
export async function createOddCertificates(): Promise<OddCertificates | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'entrepot-certificates-'));
  const file = (name: string): string => join(directory, name);
  const own = 'subjectAltName=DNS:localhost,IP:127.0.0.1';
  try {
    await request(file('ca'), ['-x509', '-days', '365', '-subj', '/CN=odd authority']);
    const issue = async (name: string, days: number, names = own): Promise<KeyPair> => {
      await request(file(name), ['-subj', '/CN=server']);
      await writeFile(file(`${name}.ext`), `${names}\n`);
      const authority = ['-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-CAcreateserial'];
      const input = ['-in', file(`${name}.crt`), '-extfile', file(`${name}.ext`)];
      const output = ['-days', String(days), '-out', file(`${name}.crt`)];
      await run('openssl', ['x509', '-req', ...input, ...authority, ...output]);
      return {
        key: await readFile(file(`${name}.key`)),
        cert: await readFile(file(`${name}.crt`)),
      };
    };
    return {
      lasting: await issue('lasting', 90),
      ending: await issue('ending', 5),
      expired: await issue('expired', -1),
      foreign: await issue('foreign', 90, 'subjectAltName=DNS:other.example'),
      ca: await readFile(file('ca.crt'), 'utf8'),
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  } finally {
    await rm(directory, { recursive: true });
  }
}

async function request(path: string, extra: readonly string[]): Promise<void> {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const output = ['-keyout', `${path}.key`, '-out', `${path}.crt`];
  await run('openssl', ['req', '-new', ...key, ...output, ...extra]);
}
