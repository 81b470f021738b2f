import {
  array,
  boolean,
  constantFrom,
  dictionary,
  integer,
  nat,
  option,
  record,
  uniqueArray,
  type Arbitrary,
} from 'fast-check';
import type { Tag } from '../../../src/oci/reference.ts';
import type { Inventory } from '../../../sync/bundle/inventory.ts';
import { MemberMask } from '../../../sync/bundle/member-mask.ts';
import { attachedTag, digestOf, SERIES, SITE } from './made-inventory.ts';

const digest = record({ seed: nat(), algorithm: constantFrom('sha256', 'sha256', 'sha512') }).map(
  ({ seed, algorithm }) => digestOf(`${seed}`, algorithm),
);
const digests = uniqueArray(digest, { maxLength: 30 });
const name = constantFrom(
  'docker.io/library/app',
  'docker.io/library/app-b',
  'ghcr.io/o/a',
  'r:5000/x',
);
const tag = constantFrom('latest', '1.2', '1.2-alpine', 'V1_', undefined, undefined) as Arbitrary<
  Tag | undefined
>;
const mask = array(boolean(), { maxLength: 40 }).map((members) => MemberMask.of(members));
/** One that a site could have, in any order. */
export const anyInventory: Arbitrary<Inventory> = record({
  manifests: digests,
  masks: array(mask, { minLength: 30, maxLength: 30 }),
  blobs: digests,
  places: array(
    record({
      name,
      tag,
      attached: option(constantFrom('', '.sig', '.att')),
      at: nat(),
      of: nat(),
    }),
    { maxLength: 60 },
  ),
  applied: dictionary(constantFrom(SITE, SERIES), integer({ min: 1 })),
}).map(({ manifests, masks, blobs, places, applied }) => {
  const held = manifests.map((each, at) => [each, masks[at]!] as const);
  const images =
    manifests.length === 0
      ? []
      : places.map(({ name, tag, attached, at, of }) => {
          const digest = manifests[at % manifests.length]!;
          const subject = manifests[of % manifests.length]!;
          const isAttached = attached !== null && subject.startsWith('sha256:');
          const known = isAttached ? attachedTag(subject, attached) : tag;
          return { name, digest, ...(known !== undefined && { tag: known }) };
        });
  const unique = new Map(images.map((each) => [`${each.name}:${each.tag ?? each.digest}`, each]));
  return {
    site: SITE,
    applied: new Map(Object.entries(applied)),
    complete: new Set(held.filter(([, { isWhole }]) => isWhole).map(([each]) => each)),
    partial: new Map(held.filter(([, { isWhole }]) => !isWhole)),
    blobs: new Set(blobs),
    images: [...unique.values()],
  };
});
