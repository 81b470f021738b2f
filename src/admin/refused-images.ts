import type {
  AdmissionApi,
  RefusedImage,
  RefusedImport,
  RefusedPage,
} from '../api/admission-api.ts';
import type { UntakenImage } from '../api/bundle-api.ts';
import type { StoreApi } from '../api/store-api.ts';
import { parseDigest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import { formatImageName, parseImageName } from '../oci/reference.ts';

interface Parts {
  readonly store: Pick<StoreApi, 'kept' | 'findHeld'>;
  readonly admission: Pick<AdmissionApi, 'report'>;
  /** 1,000 at most. */
  readonly untaken: () => readonly UntakenImage[];
}

/** Judged for one page. */
const MAX_JUDGED = 1000;

/**
 * A page of what is kept and would be refused, by what is held: nobody is asked for anything. It ends with as many
 * as are wanted, or when 1,000 images were judged; what is left begins behind `next`. The first page tells besides what
 * bundles brought that was not taken and is held.
 */
export async function findRefused(
  parts: Parts,
  { after, limit }: { readonly after: string | undefined; readonly limit: number },
): Promise<RefusedPage> {
  const imports = after === undefined ? await judgeUntaken(parts) : [];
  return { ...(await judgeKept(parts, { after, limit })), ...(imports.length > 0 && { imports }) };
}

async function judgeKept(
  { store, admission }: Parts,
  { after, limit }: { readonly after: string | undefined; readonly limit: number },
): Promise<RefusedPage> {
  const images: RefusedImage[] = [];
  let left = MAX_JUDGED;
  for await (const kept of store.kept(after)) {
    const told = await judge(kept.image, admission);
    if (told && told.rules.length > 0) images.push({ ...kept, ...told });
    left -= 1;
    if (left === 0 || images.length === limit) return { images, next: kept.image };
  }
  return { images };
}

async function judgeUntaken({ store, admission, untaken }: Parts): Promise<RefusedImport[]> {
  const came = untaken().map((each) => {
    const { name, tag } = parseImageName(each.image);
    const digest = parseDigest(each.digest);
    return {
      ...each,
      named: formatImageName({ name, digest }),
      tags: tag === undefined ? [] : [tag],
    };
  });
  const held = await store.findHeld(came.map(({ named }) => named));
  const imports: RefusedImport[] = [];
  for (const { named, tags, series, number, broughtAt } of came) {
    const told = held.has(named) ? await judge(named, admission) : undefined;
    const bundle = { series, number, broughtAt };
    if (told) imports.push({ image: named, tags, pins: [], ...told, bundle });
  }
  return imports;
}

/** Which rules an image does not meet; nothing where it is of an upstream that is not configured any more. */
async function judge(
  image: string,
  admission: Parts['admission'],
): Promise<Pick<RefusedImage, 'isAllowed' | 'rules'> | undefined> {
  try {
    const { rules, isAllowed } = await admission.report(image, { isHeld: true });
    return { isAllowed, rules: rules.filter(({ outcome }) => outcome !== 'admitted') };
  } catch (error) {
    // Nothing of it is served.
    if (error instanceof RegistryError) return undefined;
    throw error;
  }
}
