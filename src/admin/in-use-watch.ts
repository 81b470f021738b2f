import type { InUseList, PassedOver } from '../api/store-api.ts';
import type { Config } from '../config/config.ts';
import type { Log } from '../observe/log.ts';
import { InUseFile } from '../store/care/care.ts';
import type { StoreAdmin } from './store-admin.ts';

/** Watches the list of images in use; without one, the pins of an earlier list are removed. */
export async function watchInUse(
  config: Config,
  storeAdmin: StoreAdmin,
  log: Log,
): Promise<InUseFile | undefined> {
  const { inUse: path } = config.store;
  const changed = async (list: InUseList): Promise<readonly PassedOver[]> =>
    (await storeAdmin.setInUse('file', list)).passedOver;
  if (path === undefined) {
    // What a full disk does not take now is taken at a later start: until then too much is pinned.
    await changed({ entries: [], isWhole: true }).catch((err: unknown) =>
      log.error({ err }, 'the pins of an earlier list of images in use stay'),
    );
    return undefined;
  }
  const file = new InUseFile({ path, changed, log });
  await file.watch();
  return file;
}
