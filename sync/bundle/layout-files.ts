import { isDigest, type Digest } from '../../src/oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../../src/oci/manifest.ts';
import { BundleError } from './bundle-error.ts';
import type { LayoutIntake } from './layout-intake.ts';
import type { LayoutEntry, LayoutTar } from './layout-tar.ts';
import { TEXTS } from './texts.ts';

/** Documents that say what else is there; each is as long as a manifest may be. */
const DOCUMENTS = ['oci-layout', 'index.json', 'manifest.json'] as const;
type DocumentName = (typeof DOCUMENTS)[number];

/** `blobs/sha256/…` */
const BLOB = /^blobs\/(?<algorithm>[^/]+)\/(?<encoded>[^/]+)$/;
/** Configs and layers as docker, podman, skopeo and crane name them in a docker-archive. */
const ARCHIVED = /^(?:[^/]+\.json|(?:[^/]+\/)?[^/]+\.tar(?:\.gz)?|sha256:[0-9a-f]{64})$/;
const MAX_HOPS = 16;

/**
 * What a tar of an OCI layout or a docker-archive has, whose blobs are in the store by now. A blob is found
 * by its digest, and what a docker-archive names in its own way by that name.
 */
export class LayoutFiles {
  readonly #intake: LayoutIntake;
  readonly #documents = new Map<DocumentName, Buffer>();
  readonly #archived = new Map<string, Digest>();
  readonly #links = new Map<string, string>();
  readonly #names = new Set<string>();
  #hasBlobs = false;
  /** Entries that nobody needs. */
  skipped = 0;

  /** Reads all of it. Throws a `BundleError`, and what the store throws. */
  static async read(tar: LayoutTar, intake: LayoutIntake): Promise<LayoutFiles> {
    const files = new LayoutFiles(intake);
    for await (const entry of tar.entries()) await files.#add(entry);
    return files;
  }

  constructor(intake: LayoutIntake) {
    this.#intake = intake;
  }

  /** Of an OCI layout, also where it can be read as a docker-archive too. */
  get index(): Buffer | undefined {
    const layout = this.#documents.get('oci-layout');
    const index = this.#documents.get('index.json');
    if (!layout || !index) return undefined;
    const document = parseDocument('oci-layout', layout);
    const { imageLayoutVersion } = (document ?? {}) as { imageLayoutVersion?: unknown };
    if (imageLayoutVersion === '1.0.0') return index;
    const found = JSON.stringify(imageLayoutVersion ?? null).slice(0, 40);
    throw new BundleError('format', TEXTS.layoutVersion({ found }));
  }

  /** Of a docker-archive. */
  get manifest(): unknown {
    const bytes = this.#documents.get('manifest.json');
    return bytes && parseDocument('manifest.json', bytes);
  }

  /** What a docker-archive has under this name, by itself or by a link. Throws a `BundleError`. */
  archived(name: string): Digest {
    let at = name.replace(/^\.\//, '');
    for (let hops = 0; hops <= MAX_HOPS; hops += 1) {
      const blob = digestOfPath(at);
      const digest = this.#archived.get(at) ?? (blob && this.#isHere(blob) ? blob : undefined);
      if (digest) return digest;
      const to = this.#links.get(at);
      if (to === undefined) break;
      at = to;
    }
    throw new BundleError(
      'format',
      TEXTS.archiveLacks({ name: JSON.stringify(name.slice(0, 120)) }),
    );
  }

  #isHere(digest: Digest): boolean {
    return this.#intake.sizeOf(digest) !== undefined;
  }

  async #add(entry: LayoutEntry): Promise<void> {
    const { name } = entry;
    const document = DOCUMENTS.find((each) => each === name);
    const blob = digestOfPath(name);
    this.#hasBlobs ||= blob !== undefined || name === 'oci-layout';
    const isArchived = !document && ARCHIVED.test(name) && !this.#hasBlobs;
    if (!document && !blob && !isArchived) {
      this.skipped += 1;
      return;
    }
    if (this.#names.has(name)) {
      throw new BundleError('format', TEXTS.layoutTwice({ name: JSON.stringify(name) }));
    }
    this.#names.add(name);
    if (entry.type === 'symlink') {
      if (isArchived) this.#links.set(name, entry.to);
      else throw new BundleError('format', TEXTS.layoutType({ name, type: entry.type }));
    } else if (document) this.#documents.set(document, await readDocument(entry));
    else if (blob) await this.#intake.take(blob, entry);
    else this.#archived.set(name, await this.#intake.takeUnnamed(entry));
  }
}

/** Throws a `BundleError`. */
export function parseDocument(name: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new BundleError('format', TEXTS.layoutNotJson({ name }), { cause });
  }
}

function digestOfPath(name: string): Digest | undefined {
  const { algorithm, encoded } = BLOB.exec(name)?.groups ?? {};
  const digest = `${algorithm}:${encoded}`;
  return isDigest(digest) ? digest : undefined;
}

async function readDocument(entry: Extract<LayoutEntry, { type: 'file' }>): Promise<Buffer> {
  const { name, size, content } = entry;
  if (size > MAX_MANIFEST_BYTES) {
    throw new BundleError('format', TEXTS.layoutDocument({ name, most: MAX_MANIFEST_BYTES }));
  }
  return Buffer.concat(await Array.fromAsync(content));
}
