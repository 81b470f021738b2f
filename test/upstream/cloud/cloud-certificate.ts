import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { issueCertificates, type KeyPair } from '../../helpers/certificate.ts';
import { createTempFolder } from '../../helpers/mirror.ts';

export interface CloudCertificate extends KeyPair {
  /** Its authority's, for NODE_EXTRA_CA_CERTS. */
  readonly file: string;
}

/** A fresh certificate for `127.0.0.1` and the named hosts. */
export async function createCloudCertificate(
  t: ExecutionContext,
  hosts: readonly string[] = [],
): Promise<CloudCertificate> {
  const names = ['IP:127.0.0.1', ...hosts.map((host) => `DNS:${host}`)];
  const { ca, issued } = await issueCertificates({ cloud: { commonName: 'test cloud', names } });
  const file = join(await createTempFolder(t), 'authority.pem');
  await writeFile(file, ca);
  return { ...issued.cloud, file };
}
