import type { AdmissionApi, RefusedImage, RefusedPage } from '../api/admission-api.ts';
import type { KeptImage, StoreApi } from '../api/store-api.ts';
import { RegistryError } from '../oci/errors.ts';

interface Parts {
  readonly store: Pick<StoreApi, 'kept'>;
  readonly admission: Pick<AdmissionApi, 'report'>;
}

/** Judged for one page. */
const MAX_JUDGED = 1000;

/**
 * A page of what is kept and would be refused, by what is held: nobody is asked for anything. It ends with as many
 * as are wanted, or when 1,000 images were judged; what is left begins behind `next`.
 */
export async function findRefused(
  { store, admission }: Parts,
  { after, limit }: { readonly after: string | undefined; readonly limit: number },
): Promise<RefusedPage> {
  const images: RefusedImage[] = [];
  let left = MAX_JUDGED;
  for await (const kept of store.kept(after)) {
    const refused = await judge(kept, admission);
    if (refused) images.push(refused);
    left -= 1;
    if (left === 0 || images.length === limit) return { images, next: kept.image };
  }
  return { images };
}

async function judge(
  kept: KeptImage,
  admission: Parts['admission'],
): Promise<RefusedImage | undefined> {
  try {
    const { rules, isAllowed } = await admission.report(kept.image, { isHeld: true });
    const unmet = rules.filter(({ outcome }) => outcome !== 'admitted');
    return unmet.length === 0 ? undefined : { ...kept, isAllowed, rules: unmet };
  } catch (error) {
    // Of an upstream that is not configured any more nothing is served.
    if (error instanceof RegistryError) return undefined;
    throw error;
  }
}
