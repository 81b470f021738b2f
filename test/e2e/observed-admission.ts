import { utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { AdmissionConfig } from '../admission/guarded.ts';
import { SiteScanner, STRICT } from '../admission/scanned.ts';
import { Authority, IDENTITY, ISSUER } from '../admission/signatures/authority.ts';
import { HOUR } from '../helpers/clock.ts';
import { createTempFolder } from '../helpers/mirror.ts';

/** Rules of admission whose trust root and scanner nobody has looked after for long. */
export interface ObservedAdmission {
  readonly trustRoot: string;
  readonly scanner: SiteScanner;
  readonly config: AdmissionConfig;
}

export async function observeAdmission(
  t: ExecutionContext,
  upstream: string,
): Promise<ObservedAdmission> {
  const trustRoot = join(await createTempFolder(t), 'trusted_root.json');
  const { root } = await Authority.create();
  await writeFile(trustRoot, JSON.stringify(root));
  const before = new Date(Date.now() - 40 * 24 * HOUR);
  await utimes(trustRoot, before, before);
  const scanner = await SiteScanner.start(t);
  scanner.databaseAt = before.toISOString();
  const images = (which: string) => [`${upstream}/library/${which}/*`];
  const signedBy = [{ identity: IDENTITY, issuer: ISSUER }];
  const config: AdmissionConfig = {
    trust: { sigstore: { trustedRoot: trustRoot }, keys: {} },
    scanner: scanner.settings,
    rules: [
      { images: images('enforce'), mode: 'enforce', signedBy },
      { images: images('audit'), mode: 'audit', signedBy },
      { images: images('scanned'), mode: 'enforce', vulnerabilities: STRICT },
    ],
  };
  return { trustRoot, scanner, config };
}
