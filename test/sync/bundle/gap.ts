import type { ExecutionContext } from 'ava';
import type { BundleDraft } from '../../../src/api/bundle-api.ts';
import { get, type ClientAnswer } from '../../helpers/client.ts';
import { FakeRegistry } from '../../helpers/fake-registry.ts';
import type { Image } from '../../helpers/image.ts';
import { startMirror, type MirrorOptions, type TestMirror } from '../../helpers/mirror.ts';
import { bring, COURIER, pull, REGISTRY, startAirGapped } from './brought-bundle.ts';
import { DraftClient } from './draft-client.ts';
import { MadeBundle, type MadeContents } from './made-bundle.ts';
import { fetchInventory } from './read-site.ts';

/** The repository of all images that go over the gap. */
export const REPOSITORY = 'org/app';

/** A connected mirror with its upstream, and a site without a link. */
export class Gap {
  readonly registry: FakeRegistry;
  readonly connected: TestMirror;
  site: TestMirror;
  readonly drafts: DraftClient;
  readonly #t: ExecutionContext;

  static async open(t: ExecutionContext, site: Partial<MirrorOptions> = {}): Promise<Gap> {
    const registry = await FakeRegistry.start(t);
    const upstreams = { [REGISTRY]: { url: registry.url } };
    const connected = await startMirror(t, { upstreams });
    return new Gap(t, { registry, connected, site: await startAirGapped(t, site) });
  }

  constructor(t: ExecutionContext, parts: Pick<Gap, 'registry' | 'connected' | 'site'>) {
    this.#t = t;
    this.registry = parts.registry;
    this.connected = parts.connected;
    this.site = parts.site;
    this.drafts = new DraftClient(parts.connected);
  }

  /** What is to be carried of these tags, in a bundle. */
  async pack(
    tags: readonly string[],
    contents: MadeContents = {},
  ): Promise<{ draft: BundleDraft; bundle: MadeBundle }> {
    const inventory = (await fetchInventory(this.#t, this.site)).toString('base64');
    const images = tags.map((tag) => `${REGISTRY}/${REPOSITORY}:${tag}`);
    const { id, draft, problems } = await this.drafts.report({ images, inventory });
    this.#t.deepEqual(problems, []);
    const read = async ({ digest, size }: { digest: string; size: number }): Promise<Buffer> =>
      Buffer.from(await (await this.drafts.blob(id, digest, 0, size)).arrayBuffer());
    const blobs = await Promise.all(draft!.blobs.map(read));
    const recipes = await Promise.all(
      (draft!.recipes ?? []).map(async ({ recipe }) => read(recipe)),
    );
    await this.drafts.end(id);
    const { blobs: _, files: __, ...manifest } = draft!;
    const bundle = new MadeBundle({ key: COURIER, ...contents, blobs, others: recipes, manifest });
    return { draft: draft!, bundle };
  }

  /** Publishes an image, and brings it over. */
  async bringTag(tag: string, image: Image): Promise<BundleDraft> {
    this.registry.addImage(REPOSITORY, tag, image);
    const { draft, bundle } = await this.pack([tag]);
    await this.bringAll(bundle);
    return draft;
  }

  /** With what it has in its store. */
  async restartSite(): Promise<void> {
    const { storePath } = this.site;
    await this.site.stop();
    this.site = await startAirGapped(this.#t, { storePath });
  }

  async bring(part: Buffer): Promise<Record<string, unknown>> {
    const { status, body } = await bring(this.site, part);
    this.#t.is(status, 200, JSON.stringify(body));
    return body;
  }

  /** Resolves with what the site says of the last part. */
  async bringAll(bundle: MadeBundle): Promise<Record<string, unknown>> {
    let last: Record<string, unknown> = {};
    for (const part of await bundle.all()) last = await this.bring(part);
    return last;
  }

  async requireTag(tag: string, { manifest }: Image): Promise<void> {
    this.#t.true((await pull(this.site, REPOSITORY, tag)).body.equals(manifest.bytes), tag);
  }

  /** The site serves all of it, as it is. */
  async requireServed(tag: string, image: Image): Promise<void> {
    await this.requireTag(tag, image);
    for (const { digest, bytes } of image.blobs) {
      const { status, body } = await this.read(digest);
      this.#t.is(status, 200, digest);
      this.#t.true(body.equals(bytes), digest);
    }
  }

  async read(digest: string): Promise<ClientAnswer> {
    return get(`${this.site.url}/v2/${REPOSITORY}/blobs/${digest}?ns=${REGISTRY}`);
  }
}
