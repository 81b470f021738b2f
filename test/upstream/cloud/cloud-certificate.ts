import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import type { KeyPair } from '../../helpers/certificate.ts';
import { createTempFolder } from '../../helpers/mirror.ts';

const run = promisify(execFile);

export interface CloudCertificate extends KeyPair {
  /** For NODE_EXTRA_CA_CERTS: it is its own authority. */
  readonly file: string;
}

/** A fresh certificate for `127.0.0.1` and the named hosts. Needs the Debian package openssl. */
export async function createCloudCertificate(
  t: ExecutionContext,
  hosts: readonly string[] = [],
): Promise<CloudCertificate> {
  const folder = await createTempFolder(t);
  const [keyFile, file] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const names = ['IP:127.0.0.1', ...hosts.map((host) => `DNS:${host}`)].join(',');
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const output = ['-keyout', keyFile, '-out', file, '-days', '2'];
  const subject = ['-subj', '/CN=test cloud', '-addext', `subjectAltName=${names}`];
  await run('openssl', ['req', '-x509', '-new', ...key, ...output, ...subject]);
  return { key: await readFile(keyFile), cert: await readFile(file), file };
}

/** Whether there is an `openssl` to make one with. */
export async function hasOpenssl(): Promise<boolean> {
  return run('openssl', ['version']).then(
    () => true,
    () => false,
  );
}
