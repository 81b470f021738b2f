import type { Pin, RemovalReport } from '../api/store-api.ts';
import { isGlob } from '../config/glob.ts';
import type { Addressing } from '../mirror/addressing.ts';
import { isDigest, type Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import { formatImageName, formatTarget, type Tag, type Target } from '../oci/reference.ts';
import { sumOf } from '../store/care/care.ts';
import type { Store } from '../store/store.ts';
import { TEXTS } from './texts.ts';

/** One image as it was named, to be taken out of the store. */
export class ImageRemoval {
  readonly #store: Store;
  readonly #target: Target;
  readonly #name: string;
  readonly #tag: Tag | undefined;
  readonly #digest: Digest | undefined;

  /** Throws a `RegistryError` with status 400 for what names no single image, and as `resolveImage` does. */
  constructor(image: string, { store, addressing }: { store: Store; addressing: Addressing }) {
    if (isGlob(image) || isDigest(image)) {
      throw refusal(400, TEXTS.namesNoImage({ image: JSON.stringify(image.slice(0, 255)) }));
    }
    const { target, tag, digest } = addressing.resolveImage(image);
    this.#store = store;
    this.#target = target;
    this.#tag = digest ? undefined : tag;
    this.#digest = digest;
    const named = digest ? { digest } : tag && { tag };
    this.#name = formatImageName({ name: formatTarget(target), ...named });
  }

  /**
   * With `isPlan` it only says what would go. Throws with status 400 where neither tag nor digest is
   * named, 404 where nothing is held, 409 where something keeps it.
   */
  async run({ isPlan }: { isPlan: boolean }): Promise<RemovalReport | undefined> {
    const { catalog, care, blobs } = this.#store;
    if (!this.#tag && !this.#digest) throw await this.#refuseBareName();
    const target = this.#target;
    const digest = this.#digest ?? (await catalog.findTag(target, this.#tag!))?.digest;
    if (!digest || !(await catalog.isHeld({ target, digest }))) return undefined;
    if (blobs.isReadOnly && !isPlan) throw refusal(409, care.health.condition.reason ?? '');
    const done = await care.budget.remove({ target, digest, tag: this.#tag }, { isPlan });
    if ('why' in done) throw this.#refuse(done);
    const { image, stays } = done;
    return {
      image: this.#name,
      digest,
      tags: image.tags,
      ...(stays && { stays }),
      released: stays ? { images: 0, blobs: 0, bytes: 0 } : sumOf([image]),
    };
  }

  async #refuseBareName(): Promise<RegistryError> {
    const tags = await this.#store.catalog.listTags(this.#target);
    const told = tags.slice(0, MAX_TAGS_TOLD).join(', ');
    const more = tags.length - MAX_TAGS_TOLD;
    const held = more > 0 ? TEXTS.andMore({ tags: told, more }) : told;
    const image = this.#name;
    return refusal(
      400,
      held === '' ? TEXTS.bareName({ image }) : TEXTS.bareNameOf({ image, held }),
    );
  }

  #refuse(kept: Kept): RegistryError {
    const image = this.#name;
    if (kept.why === 'pulled') return refusal(409, TEXTS.beingPulled({ image }));
    if (kept.why === 'part') {
      const whole = kept.of.map((digest) => `${formatTarget(this.#target)}@${digest}`).join(', ');
      return refusal(409, TEXTS.partOf({ image, whole }));
    }
    const reasons = kept.pins.map(describeKeeper).join('; ');
    return refusal(409, TEXTS.keptBy({ image, reasons }), { pins: kept.pins });
  }
}

/** Of a repository of which neither tag nor digest was named. */
const MAX_TAGS_TOLD = 5;

type Kept =
  | { readonly why: 'pinned'; readonly pins: readonly Pin[] }
  | { readonly why: 'pulled' }
  | { readonly why: 'part'; readonly of: readonly Digest[] };

/** Who keeps it, and what takes that away. */
function describeKeeper({ origin, image, reason = '' }: Pin): string {
  if (origin === 'hand') return TEXTS.keptByHand({ image });
  if (origin === 'config') return TEXTS.keptByConfig({ image });
  if (origin === 'sync') {
    const [, series] = /^bundle (.+)$/.exec(reason) ?? [];
    return series === undefined
      ? TEXTS.keptBySync({ rule: reason })
      : TEXTS.keptByBundle({ series });
  }
  return TEXTS.keptInUse({ image, source: origin.replace(/^use:/, '') });
}

function refusal(status: number, message: string, detail?: object): RegistryError {
  return new RegistryError('UNSUPPORTED', { status, message, ...(detail && { detail }) });
}
