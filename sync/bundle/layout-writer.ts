import { constants } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createReadStream } from 'node:fs';
import { dirname, join } from 'node:path';
import { isStringMap } from '../../src/oci/descriptor.ts';
import { Digester, splitDigest, type Digest } from '../../src/oci/digest.ts';
import { OCI_INDEX } from '../../src/oci/media-types.ts';
import { BundleError } from './bundle-error.ts';
import { parseDocument } from './layout-files.ts';
import { withTypeAlike } from './layout-index.ts';
import { TEXTS } from './texts.ts';

/** An image as the index of a layout lists it. */
export interface LayoutRoot {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  /** With its registry, and its tag or digest. */
  readonly name: string;
  /** By which tools ask for it, where no other image of the layout has it. */
  readonly tag?: string | undefined;
}

interface IndexDocument {
  readonly manifests: readonly { readonly annotations?: Readonly<Record<string, string>> }[];
}

const LAYOUT = '{"imageLayoutVersion":"1.0.0"}';
const NAME = 'io.containerd.image.name';
const REF = 'org.opencontainers.image.ref.name';
/** As this writes what is not whole yet. */
const TEMPORARY = /^\..*\.tmp$/;

/**
 * The folder of an OCI layout that images are added to. Each file is written under another name first: who
 * looks at the folder finds whole blobs, and an index that lists what is there.
 */
export class LayoutWriter {
  readonly #path: string;
  readonly #index: IndexDocument;

  /** Makes the folder where there is none. Throws a `BundleError` where there is something else than a layout. */
  static async open(path: string): Promise<LayoutWriter> {
    await mkdir(path, { recursive: true });
    const entries = await readdir(path);
    const index = entries.includes('index.json') ? await readIndex(path) : { manifests: [] };
    const isBegun = entries.every((name) => BEGUN.has(name) || TEMPORARY.test(name));
    const isLayout = entries.includes('oci-layout') && entries.includes('index.json');
    if (!isBegun && !isLayout) throw new BundleError('format', TEXTS.exportOther({ path }));
    const writer = new LayoutWriter(path, index);
    if (!entries.includes('oci-layout')) await writer.#place('oci-layout', [Buffer.from(LAYOUT)]);
    return writer;
  }

  private constructor(path: string, index: IndexDocument) {
    this.#path = path;
    this.#index = index;
  }

  /** Whether it is there, all bytes as they must be. */
  async has(digest: Digest): Promise<boolean> {
    const digester = new Digester(splitDigest(digest).algorithm);
    try {
      for await (const chunk of createReadStream(join(this.#path, pathOf(digest)))) {
        digester.update(chunk as Buffer);
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
    return digester.value() === digest;
  }

  /** Throws a `BundleError` when the bytes are not those of the digest; then nothing is there. */
  async write(digest: Digest, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const digester = new Digester(splitDigest(digest).algorithm);
    const hashed = async function* hash(): AsyncGenerator<Uint8Array> {
      for await (const chunk of bytes) {
        digester.update(chunk);
        yield chunk;
      }
      const actual = digester.value();
      if (actual !== digest) {
        throw new BundleError('content', TEXTS.layoutContent({ digest, actual }));
      }
    };
    await mkdir(dirname(join(this.#path, pathOf(digest))), { recursive: true });
    await this.#place(pathOf(digest), hashed());
  }

  /** Lists an image whose blobs are all there, in the place of what had its name; resolves with its ref. */
  async list({ name, tag, ...descriptor }: LayoutRoot): Promise<string> {
    const others = this.#index.manifests.filter(({ annotations }) => annotations?.[NAME] !== name);
    const isTaken = others.some(({ annotations }) => annotations?.[REF] === tag);
    const ref = tag === undefined || isTaken ? name : tag;
    const root = { ...descriptor, annotations: { [NAME]: name, [REF]: ref } };
    const index = {
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      ...this.#index,
      manifests: [...others, ...withTypeAlike(root)],
    };
    await this.#place('index.json', [Buffer.from(`${JSON.stringify(index)}\n`)]);
    return ref;
  }

  async #place(
    name: string,
    bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> {
    const path = join(this.#path, name);
    const fresh = join(dirname(path), `.${name.slice(name.lastIndexOf('/') + 1)}.tmp`);
    await rm(fresh, { force: true });
    try {
      await using file = await open(fresh, O_WRONLY | O_CREAT | O_EXCL, 0o644);
      await writeFile(file, bytes);
      await file.sync();
      await rename(fresh, path);
    } catch (error) {
      await rm(fresh, { force: true });
      throw error;
    }
  }
}

const { O_WRONLY, O_CREAT, O_EXCL } = constants;
/** What is there of a layout whose first image did not come to its end. */
const BEGUN: ReadonlySet<string> = new Set(['oci-layout', 'blobs']);

function pathOf(digest: Digest): string {
  const { algorithm, encoded } = splitDigest(digest);
  return `blobs/${algorithm}/${encoded}`;
}

async function readIndex(path: string): Promise<IndexDocument> {
  const document = parseDocument('index.json', await readFile(join(path, 'index.json')));
  const { manifests } = (document ?? {}) as { manifests?: unknown };
  const isIndex =
    Array.isArray(manifests) &&
    manifests.every((each: unknown) => {
      const { annotations } = (each ?? {}) as { annotations?: unknown };
      return typeof each === 'object' && (annotations === undefined || isStringMap(annotations));
    });
  if (isIndex) return document as IndexDocument;
  throw new BundleError('format', TEXTS.exportOther({ path }));
}
