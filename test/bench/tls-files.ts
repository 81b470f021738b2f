import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createCertificates } from '../helpers/certificate.ts';
import type { Workbench } from './workbench.ts';

/** Paths of a certificate and its key, for every server that a row compares. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

/** A certificate with an EC key, as certificate authorities give them today. */
export async function createTlsFiles(bench: Workbench): Promise<TlsFiles> {
  const folder = bench.newPath('tls');
  await mkdir(folder);
  const files = { cert: join(folder, 'server.crt'), key: join(folder, 'server.key') };
  const { server } = await createCertificates();
  await writeFile(files.cert, server.cert);
  await writeFile(files.key, server.key);
  return files;
}
