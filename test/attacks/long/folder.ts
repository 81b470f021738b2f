import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Scope } from './attack.ts';

/** A folder that is gone with the scope. */
export async function temporaryFolder(scope: Scope): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-attack-'));
  scope.teardown(async () => rm(folder, { recursive: true, force: true }));
  return folder;
}
