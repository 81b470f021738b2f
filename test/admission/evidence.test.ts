import test from 'ava';
import { Evidence, type Attached, type Maker } from '../../src/admission/evidence.ts';
import { cosignTags } from '../../src/oci/cosign.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { parseRepository } from '../../src/oci/reference.ts';
import { descriptorOf, store, storeJson } from '../helpers/image.ts';
import { BUNDLE } from './signing.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const NOTATION = 'application/vnd.cncf.notary.signature';
const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json';
const TARGET = { upstream: 'hub.example', repository: parseRepository('library/app') };
const SUBJECT = digestOf(Buffer.from('image'));
const MIB = 2 ** 20;

/** What is attached to one image, whatever it is worth, and what is fetched of it. */
class Shelf {
  readonly fetched: Digest[] = [];
  atOnce = 0;
  readonly #listed: Descriptor[] = [];
  readonly #manifests = new Map<Digest, Buffer>();
  readonly #blobs = new Map<Digest, Buffer>();
  #tagged: Digest | undefined;
  #open = 0;

  /** A manifest with these layers. */
  attach(type: string, layers: readonly Buffer[], created?: string): void {
    const { digest, size, mediaType } = this.#carry(type, layers);
    const annotations =
      created === undefined ? {} : { 'org.opencontainers.image.created': created };
    this.#listed.push({ digest, size, mediaType, artifactType: type, annotations });
  }

  tag(layers: readonly Buffer[]): void {
    this.#tagged = this.#carry(SIMPLE_SIGNING, layers).digest;
  }

  async look(maker: Maker): Promise<Attached[]> {
    const evidence = new Evidence({
      attachments: {
        referrers: async () => this.#listed,
        tagged: async (_, tag) => (tag === cosignTags(SUBJECT)[0] ? this.#tagged : undefined),
        manifest: async (_, digest) => this.#manifests.get(digest),
        blob: async (_, { digest }) => this.#fetch(digest),
      },
      target: TARGET,
      subject: SUBJECT,
      reach: 'upstream',
      makers: new Set([maker]),
      missed: () => {},
    });
    return Array.fromAsync(evidence.signatures());
  }

  #carry(type: string, layers: readonly Buffer[]): Descriptor {
    const stored = layers.map((each) => store(each, type === NOTATION ? 'application/cose' : type));
    for (const { digest, bytes } of stored) this.#blobs.set(digest as Digest, bytes);
    const config = descriptorOf(store('{}', 'application/vnd.oci.empty.v1+json'));
    const document = {
      schemaVersion: 2,
      mediaType: MANIFEST,
      config,
      layers: stored.map(descriptorOf),
    };
    const manifest = storeJson(document, MANIFEST);
    this.#manifests.set(manifest.digest as Digest, manifest.bytes);
    return { digest: manifest.digest as Digest, size: manifest.bytes.length, mediaType: MANIFEST };
  }

  async #fetch(digest: Digest): Promise<Buffer | undefined> {
    this.fetched.push(digest);
    this.#open += 1;
    this.atOnce = Math.max(this.atOnce, this.#open);
    await Promise.resolve();
    this.#open -= 1;
    return this.#blobs.get(digest);
  }
}

function textOf({ signature }: Attached): string {
  if ('bundle' in signature) return Buffer.from(signature.bundle).toString();
  return 'layer' in signature ? 'layer' : Buffer.from(signature.notation.envelope).toString();
}

for (const [maker, type] of [
  ['sigstore', BUNDLE],
  ['notation', NOTATION],
] as const) {
  test(`of ${maker} 512 are looked at, a few at a time`, async (t) => {
    const shelf = new Shelf();
    for (let n = 0; n < 600; n += 1) shelf.attach(type, [Buffer.from(`junk ${n}`)]);
    t.is((await shelf.look(maker)).length, 512);
    t.is(shelf.fetched.length, 512);
    t.true(shelf.atOnce <= 8);
  });

  test(`of ${maker}: what carries many counts as many, and what carries none as one`, async (t) => {
    const shelf = new Shelf();
    for (let n = 0; n < 30; n += 1) {
      shelf.attach(
        type,
        Array.from({ length: 20 }, (_, part) => Buffer.from(`${n} ${part}`)),
      );
    }
    t.is((await shelf.look(maker)).length, 512);
    const empty = new Shelf();
    for (let n = 0; n < 600; n += 1) empty.attach(type, [], new Date(2e12 + n).toISOString());
    empty.attach(type, [Buffer.from('beyond')]);
    t.deepEqual(await empty.look(maker), []);
  });

  test(`of ${maker}: the newest come first, whatever their digests`, async (t) => {
    const shelf = new Shelf();
    shelf.attach(type, [Buffer.from('untold')]);
    shelf.attach(type, [Buffer.from('old')], '2020-01-01T00:00:00Z');
    shelf.attach(type, [Buffer.from('new')], '2025-01-01T00:00:00Z');
    t.deepEqual((await shelf.look(maker)).map(textOf), ['new', 'old', 'untold']);
  });

  test(`of ${maker}: long ones are 16 MiB at most, and hide no short one`, async (t) => {
    const shelf = new Shelf();
    for (let n = 0; n < 40; n += 1) shelf.attach(type, [Buffer.alloc(MIB, `${n} `)], '2025-01-01');
    shelf.attach(type, [Buffer.from('short')], '2020-01-01');
    const found = await shelf.look(maker);
    t.is(found.length, 17);
    t.is(textOf(found.at(-1)!), 'short');
  });
}

test('what is under the tag has bounds of its own', async (t) => {
  const shelf = new Shelf();
  for (let n = 0; n < 600; n += 1) shelf.attach(BUNDLE, [Buffer.from(`junk ${n}`)]);
  shelf.tag(Array.from({ length: 600 }, (_, n) => Buffer.from(`layer ${n}`)));
  const found = await shelf.look('sigstore');
  t.is(found.filter((each) => textOf(each) === 'layer').length, 512);
  t.is(found.length, 1024);
});
