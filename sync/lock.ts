import { createHash } from 'node:crypto';
import type { SyncConfig } from '../src/config/sync-schema.ts';
import type { SyncLock } from '../src/api/sync-api.ts';
import { isDigest } from '../src/oci/digest.ts';
import { badRequest } from '../src/oci/errors.ts';
import { isTag, isTargetName, splitTarget } from '../src/oci/reference.ts';
import { mayMatch } from './tag-selector.ts';
import { describeImage, imageKey, joinWanted, wantedBy, type WantedImage } from './wanted-image.ts';
import { TEXTS } from './texts.ts';

/** The lock of these images: their digests, for a later run to fetch exactly these. */
export function formatLock(
  config: SyncConfig,
  images: readonly WantedImage[],
  now: number,
): SyncLock {
  return {
    version: 1,
    rules: fingerprint(config),
    createdAt: new Date(now).toISOString(),
    images: images.toSorted((a, b) => (imageKey(a) < imageKey(b) ? -1 : 1)).map(describeImage),
  };
}

/**
 * The images of a lock, with what the rules want of each. Throws `RegistryError` for what is no
 * lock, and for one that was made from other rules.
 */
export function readLock(config: SyncConfig, document: unknown, now: number): WantedImage[] {
  const lock = asLock(document);
  if (lock.rules !== fingerprint(config)) throw badRequest(TEXTS.lockOfOtherRules);
  return lock.images.map(({ image: written, tag, digest, rule: path }, position) => {
    const rule = config.rules.find((known) => known.path === path);
    const place = `lock.images[${position}]`;
    if (!rule) throw badRequest(TEXTS.lockRule({ place, path }));
    // Hosts know no capitals; repositories have none.
    const image = written.replace(/^[^/]*/, (host) => host.toLowerCase());
    if (!isTargetName(image)) throw badRequest(adviseOnImage(place, image));
    if (!isDigest(digest)) throw badRequest(TEXTS.lockDigest({ place, digest }));
    if (tag !== undefined && !isTag(tag)) throw badRequest(TEXTS.lockTag({ place, tag }));
    const found = { target: splitTarget(image), ...(tag !== undefined && { tag }), digest };
    if (!mayMatch(rule, found)) {
      throw badRequest(TEXTS.lockSelects({ place, path, image: imageKey(found) }));
    }
    const checkedAt = Math.min(now, Date.parse(lock.createdAt));
    // The lock names one rule; others may want more platforms of the same image.
    return config.rules
      .filter((each) => each !== rule && mayMatch(each, found))
      .map((each) => wantedBy(each, found, checkedAt))
      .reduce(joinWanted, wantedBy(rule, found, checkedAt));
  });
}

function asLock(document: unknown): SyncLock {
  const { version, rules, createdAt, images } = (document ?? {}) as Partial<SyncLock>;
  if (version !== 1) throw badRequest(TEXTS.lockVersion);
  const isSound =
    typeof rules === 'string' &&
    typeof createdAt === 'string' &&
    !Number.isNaN(Date.parse(createdAt)) &&
    Array.isArray(images) &&
    images.every((entry) => typeof entry?.image === 'string');
  if (!isSound) throw badRequest(TEXTS.lockDamaged);
  return { version, rules, createdAt, images };
}

function adviseOnImage(place: string, image: string): string {
  const right = image.toLowerCase();
  const advice = isTargetName(right) ? TEXTS.lockWrite({ image: right }) : '';
  return `${TEXTS.lockImage({ place, image })}${advice}`;
}

/** A digest of the rules: two configurations with the same one select the same images. */
export function fingerprint({ rules }: Pick<SyncConfig, 'rules'>): string {
  return `sha256:${createHash('sha256').update(JSON.stringify(rules)).digest('hex')}`;
}
