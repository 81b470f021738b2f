import type { RefreshReport } from '../api/store-api.ts';
import { isGlob } from '../config/glob.ts';
import type { Addressing } from '../mirror/addressing.ts';
import type { Mirror } from '../mirror/mirror.ts';
import type { Digest } from '../oci/digest.ts';
import { badRequest, RegistryError } from '../oci/errors.ts';
import { DEFAULT_TAG, formatImageName, formatTarget } from '../oci/reference.ts';
import type { Store } from '../store/store.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import { TEXTS } from './texts.ts';

interface Parts {
  readonly store: Store;
  readonly addressing: Addressing;
  readonly mirror: Pick<Mirror, 'refresh'>;
}

/** Asks the upstream what a tag means now. As `StoreApi.refresh`. */
export async function refreshTag(
  image: string,
  { store, addressing, mirror }: Parts,
): Promise<RefreshReport> {
  if (isGlob(image) || image.includes('@')) {
    const message = TEXTS.namesNoTag({ image: JSON.stringify(image.slice(0, 255)) });
    throw badRequest(message);
  }
  const { target, tag = DEFAULT_TAG } = addressing.resolveImage(image);
  const name = formatImageName({ name: formatTarget(target), tag });
  const before = await store.catalog.findTag(target, tag);
  const digest = await mirror.refresh(target, tag).catch((error: unknown) => {
    throw error instanceof UpstreamError ? refusal(name, error, { isHeld: !!before }) : error;
  });
  const told = { image: name, ...(before && { before: before.digest }) };
  if (digest) return { ...told, digest, state: stateOf(digest, before?.digest) };
  if (!before) return { ...told, state: 'absent' };
  const pins = store.care.pins.of({ target, digest: before.digest, tags: [tag] });
  const isKept = pins.some(({ tags }) => tags?.includes(tag) ?? true);
  return { ...told, state: 'gone', ...(isKept && { isKept }) };
}

function stateOf(now: Digest, before: Digest | undefined): RefreshReport['state'] {
  if (before === undefined) return 'unheld';
  return now === before ? 'unchanged' : 'moved';
}

function refusal(
  image: string,
  error: UpstreamError,
  { isHeld }: { isHeld: boolean },
): RegistryError {
  const { fault, message: reason } = error;
  if (fault === 'offline') {
    return new RegistryError('UNSUPPORTED', { status: 409, message: TEXTS.refreshOffline });
  }
  const message = isHeld
    ? TEXTS.notRefreshed({ image, reason })
    : TEXTS.notAsked({ image, reason });
  return new RegistryError('UNAVAILABLE', { status: 502, message, cause: error });
}
