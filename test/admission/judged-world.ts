import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepository, parseTag, type Target } from '../../src/oci/reference.ts';
import { unitOf, type Catalog } from '../../src/store/catalog/catalog.ts';
import { get } from '../helpers/client.ts';
import { Clock, HOUR, SECOND } from '../helpers/clock.ts';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, type Image, type Stored } from '../helpers/image.ts';
import {
  createTempFolder,
  startMirror,
  type MirrorOptions,
  type TestMirror,
} from '../helpers/mirror.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import type { AdmissionConfig } from './guarded.ts';
import { issue, rootOf, seal, targetOf } from './notation/forger.ts';
import { attachEnvelope, writeStore } from './notation/notation-scene.ts';
import { KeyHolder } from './signing.ts';

export const TAGS = ['latest', 'stable'] as const;
export const IMAGES = [0, 1, 2] as const;
export const MIN_AGE = 2 * HOUR;
const SIGNERS = [new KeyHolder(), new KeyHolder()] as const;
/** When the certificates of Notation end. */
const END = Date.UTC(2030, 0, 1, 4);
const NOTARIES = await Promise.all(
  ['CN=first', 'CN=second'].map(async (subject) => {
    const issuer = await issue({ subject, isCa: true, until: END });
    return issue({ issuer, until: END });
  }),
);
const KEY = { key: 'release' };
const NOTATION = {
  notation: {
    identities: ['x509.subject: C=US, ST=WA, O=Forgery, CN=signer'],
    level: 'strict' as const,
  },
};
const OLD = { minAge: MIN_AGE };
/** What the one rule asks, by its number. */
export const ASKED: readonly { signedBy?: object[]; minAge?: number }[] = [
  { signedBy: [KEY] },
  OLD,
  { signedBy: [KEY], ...OLD },
  { signedBy: [NOTATION] },
  { signedBy: [KEY, NOTATION] },
];
/** In which a signature is attached. */
export const WAYS = ['attach', 'attachByTag', 'byNotation'] as const;
type Way = (typeof WAYS)[number];

export type Act =
  | {
      readonly do: 'pull';
      readonly what: number | 'latest' | 'stable';
      readonly by: 'GET' | 'HEAD' | 'blob';
    }
  | { readonly do: 'rule' | 'trust'; readonly to: number }
  | {
      readonly do: 'sign';
      readonly image: number;
      readonly by: number;
      readonly way: Way;
    }
  | { readonly do: 'unsign' | 'forget' | 'evict'; readonly which: number }
  | { readonly do: 'move'; readonly tag: 'latest' | 'stable'; readonly image: number }
  | { readonly do: 'wait' | 'set'; readonly ms: number }
  | { readonly do: 'restart' }
  | { readonly do: 'offline'; readonly is: boolean };

interface Signature {
  readonly image: number;
  readonly by: number;
  readonly carrier: string;
  readonly way: Way;
  /** Not removed there. */
  isAtUpstream: boolean;
}

/** A mirror with one rule about one repository of three images, and all that may change about it. */
export class JudgedWorld {
  readonly clock = new Clock();
  admitted = 0;
  readonly #t: ExecutionContext;
  readonly #registry: FakeRegistry;
  readonly #repository: string;
  readonly #images: readonly Image[];
  readonly #folder: string;
  readonly #signatures: Signature[] = [];
  /** When an image could have been first seen here, by both clocks. */
  readonly #seen = new Map<number, { readonly wall: number; readonly steady: number }>();
  readonly #means = new Map<string, number>();
  #mirror: TestMirror | undefined;
  #rule = 0;
  #trusted = 0;
  #isOffline = false;
  #aheadMs = 0;
  /** That the clock has ever shown, when it was set. */
  #latest = 0;

  static async start(t: ExecutionContext, registry: FakeRegistry, repository: string) {
    const world = new JudgedWorld(t, { registry, repository, folder: await createTempFolder(t) });
    await world.#restart();
    return world;
  }

  constructor(
    t: ExecutionContext,
    parts: { registry: FakeRegistry; repository: string; folder: string },
  ) {
    this.#t = t;
    this.#registry = parts.registry;
    this.#repository = parts.repository;
    this.#folder = parts.folder;
    this.#images = IMAGES.map((n) =>
      buildImage({ seed: `${parts.repository} ${n}`, layers: [20 + n] }),
    );
    for (const image of this.#images) this.#registry.addManifest(this.#repository, image.manifest);
    for (const image of this.#images) {
      for (const blob of image.blobs) this.#registry.addBlob(this.#repository, blob);
    }
    for (const tag of TAGS) this.#move(tag, 0);
    this.#trust(0);
    for (const image of IMAGES) {
      this.#sign({ image, by: 0, way: 'attach' });
      this.#sign({ image, by: 0, way: 'byNotation' });
    }
  }

  async do(act: Act): Promise<void> {
    if (act.do === 'pull') await this.#pull(act);
    else if (act.do === 'rule') await this.#configure(() => (this.#rule = act.to));
    else if (act.do === 'offline') await this.#configure(() => (this.#isOffline = act.is));
    else if (act.do === 'trust') this.#trust(act.to);
    else if (act.do === 'sign') this.#sign(act);
    else if (act.do === 'unsign') this.#unsign(act.which);
    else if (act.do === 'forget') await this.#evict(this.#signatures[act.which]?.carrier);
    else if (act.do === 'evict') await this.#evict(this.#images[act.which]?.manifest.digest);
    else if (act.do === 'move') this.#move(act.tag, act.image);
    else if (act.do === 'wait') this.clock.advance(act.ms);
    else if (act.do === 'set') this.#set(act.ms);
    else await this.#restart();
  }

  /** With everything as it should be, everything is admitted: nothing stays refused. */
  async settle(): Promise<void> {
    this.#set(-this.#aheadMs);
    await this.#configure(() => {
      this.#isOffline = false;
      this.#rule = 2;
    });
    this.#trust(0);
    for (const image of IMAGES) this.#sign({ image, by: 0, way: 'attach' });
    const all = [...IMAGES, ...TAGS];
    this.clock.advance(30_000);
    for (const what of all) await this.#ask(what, 'GET');
    this.#latest = Math.max(this.#latest, this.clock.wall());
    // What came while the clock ran ahead is as young as if it still did.
    this.clock.advance(this.#latest + MIN_AGE + SECOND - this.clock.wall());
    for (const what of all) {
      const { status, body } = await this.#ask(what, 'GET');
      if (status !== 200) throw new Error(`${what} stays refused: ${status} ${String(body)}`);
    }
    await this.#mirror?.stop();
  }

  async #pull({ what, by }: Extract<Act, { do: 'pull' }>): Promise<void> {
    const { status, headers } = await this.#ask(what, by);
    if (status !== 200) return;
    const digest = headers['docker-content-digest'];
    const found =
      by === 'blob'
        ? Number(what)
        : this.#images.findIndex(({ manifest }) => manifest.digest === digest);
    this.admitted += 1;
    const why = await this.#whyNot(found);
    if (why !== undefined) throw new Error(`${by} ${what} gave image ${found}: ${why}`);
  }

  async #ask(what: number | 'latest' | 'stable', by: 'GET' | 'HEAD' | 'blob') {
    const image = typeof what === 'number' ? what : this.#means.get(what)!;
    if (!this.#isOffline) this.#see(image);
    const { manifest } = this.#images[image]!;
    const base = `${this.#mirror!.url}/v2/${this.#repository}`;
    if (by === 'blob') return get(`${base}/blobs/${this.#images[image]!.layer(0).digest}`);
    const reference = typeof what === 'number' ? manifest.digest : what;
    return get(`${base}/manifests/${reference}`, { method: by });
  }

  #see(image: number): void {
    if (this.#seen.has(image)) return;
    this.#seen.set(image, { wall: this.clock.wall(), steady: this.clock.steady() });
  }

  /** By nothing but what is known here and at the upstream at this moment. */
  async #whyNot(image: number): Promise<string | undefined> {
    const asked = ASKED[this.#rule]!;
    if (asked.minAge !== undefined && !(await this.#isOld(image))) return 'it is too young';
    if (!asked.signedBy) return undefined;
    for (const each of this.#signatures) {
      if (each.image !== image || each.by !== this.#trusted) continue;
      const isNotation = each.way === 'byNotation';
      if (!asked.signedBy.includes(isNotation ? NOTATION : KEY)) continue;
      if (isNotation && this.clock.wall() > END) continue;
      if (!this.#isOffline && each.isAtUpstream) return undefined;
      if (await this.#isAttached(each)) return undefined;
    }
    return 'nobody whose signature counts has signed it';
  }

  async #isOld(image: number): Promise<boolean> {
    const { wall, steady } = this.#seen.get(image) ?? { wall: Infinity, steady: Infinity };
    const { digest } = this.#images[image]!.manifest;
    const recorded = await this.#catalog.admission.firstSight(this.#target, parseDigest(digest));
    const now = this.clock.wall();
    // A moment that is still to come tells nothing: then it is waited for.
    if ((recorded ?? 0) > now) return this.clock.steady() - steady >= MIN_AGE;
    return now - wall >= MIN_AGE && now - (recorded ?? now) >= MIN_AGE;
  }

  async #isAttached({ image, carrier, way }: Signature): Promise<boolean> {
    const digest = parseDigest(carrier);
    if (way !== 'attachByTag') return this.#catalog.isHeld({ target: this.#target, digest });
    const record = await this.#catalog.findTag(this.#target, parseTag(this.#signatureTag(image)));
    return record?.digest === digest;
  }

  #signatureTag(image: number): string {
    return `${this.#images[image]!.manifest.digest.replace(':', '-')}.sig`;
  }

  #sign({ image, by, way }: Pick<Extract<Act, { do: 'sign' }>, 'image' | 'by' | 'way'>): void {
    const { manifest } = this.#images[image]!;
    const carrier =
      way === 'byNotation'
        ? this.#notarize(manifest, by)
        : SIGNERS[by]![way](this.#registry, this.#repository, manifest).digest;
    if (way === 'attachByTag') {
      // The tag means the last one alone.
      for (const each of this.#signatures) {
        if (each.image === image && each.way === way) each.isAtUpstream = false;
      }
    }
    this.#signatures.push({ image, by, way, carrier, isAtUpstream: true });
  }

  #notarize(image: Stored, by: number): string {
    const envelope = seal('jws', NOTARIES[by]!, { target: targetOf(image.bytes) });
    return attachEnvelope(this.#registry, image, envelope, { repository: this.#repository }).digest;
  }

  #unsign(which: number): void {
    const signature = this.#signatures[which];
    if (!signature?.isAtUpstream) return;
    signature.isAtUpstream = false;
    if (signature.way === 'attachByTag') {
      this.#registry.untag(this.#repository, this.#signatureTag(signature.image));
    }
    this.#registry.remove(signature.carrier);
  }

  async #evict(digest: string | undefined): Promise<void> {
    if (digest === undefined) return;
    await this.#mirror!.idle();
    await this.#catalog.evict(unitOf(this.#target, parseDigest(digest)));
  }

  #move(tag: 'latest' | 'stable', image: number): void {
    this.#means.set(tag, image);
    this.#registry.tag(this.#repository, tag, this.#images[image]!.manifest);
  }

  #trust(to: number): void {
    this.#trusted = to;
    writeFileSync(join(this.#folder, 'release.pub'), SIGNERS[to]!.pem);
    writeStore(this.#folder, 'ca/ours/root.crt', rootOf(NOTARIES[to]!).der);
  }

  #set(ms: number): void {
    this.#latest = Math.max(this.#latest, this.clock.wall());
    this.#aheadMs += ms;
    this.clock.setBack(-ms);
    this.#latest = Math.max(this.#latest, this.clock.wall());
  }

  async #configure(change: () => void): Promise<void> {
    change();
    await this.#mirror!.reload(this.#options);
  }

  async #restart(): Promise<void> {
    await this.#mirror?.stop();
    this.#mirror = await startMirror(this.#t, this.#options);
  }

  get #options(): MirrorOptions {
    const trust = {
      keys: { release: { file: join(this.#folder, 'release.pub') } },
      notation: { stores: this.#folder },
    };
    const rule = { images: ['**'], mode: 'enforce' as const, ...ASKED[this.#rule] };
    const admission: AdmissionConfig = { trust, rules: [rule] };
    return {
      upstreams: { [UPSTREAM]: { url: this.#registry.url } },
      storePath: join(this.#folder, 'store'),
      clock: this.clock,
      offline: this.#isOffline,
      admission,
    };
  }

  get #catalog(): Catalog {
    return this.#mirror!.server.catalog;
  }

  get #target(): Target {
    return { upstream: UPSTREAM, repository: parseRepository(this.#repository) };
  }
}
