import { Agent } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { get } from '../helpers/client.ts';
import type { Image } from '../helpers/image.ts';
import type { ChildMirror } from './child-mirror.ts';
import type { Generation } from './import-world.ts';

/** A client may see the end of a mirror before anybody else does. */
const NOTICE_MS = 1_000;
const RETRY_MS = 20;
const CLIENTS = 2;

export interface TagWatchOptions {
  readonly mirror: ChildMirror;
  /** What the tags mean at first; nothing at a site that has none of them. */
  readonly before: Generation | undefined;
  readonly after: Generation;
}

/**
 * Clients that pull all tags in turns while they move, and look at every byte. Whoever asks after an
 * answer with a new image was there must get new images alone, be it from the next process.
 */
export class TagWatch {
  readonly #options: TagWatchOptions;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #clients: Promise<unknown>;
  readonly #wrong = new Set<string>();
  #mirror: ChildMirror;
  #isGone = false;
  #isOver = false;
  #hasMoved = false;
  #pulls = 0;

  constructor(options: TagWatchOptions) {
    this.#options = options;
    this.#mirror = options.mirror;
    this.target(options.mirror);
    const paths = [...options.after.images.keys()];
    this.#clients = Promise.all(
      Array.from({ length: CLIENTS }, async (_, first) => this.#client(paths, first)),
    );
  }

  /** Images that were pulled to the end. */
  get pulls(): number {
    return this.#pulls;
  }

  /** The process that has the site from now on. */
  target(mirror: ChildMirror): void {
    this.#mirror = mirror;
    this.#isGone = false;
    void mirror.gone.then(() => {
      if (this.#mirror === mirror) this.#isGone = true;
    });
  }

  /** Pulls everything once more; what no client may ever see. */
  async end(): Promise<readonly string[]> {
    this.#isOver = true;
    await this.#clients;
    for (const path of this.#options.after.images.keys()) {
      const image = await this.#pull(path).catch(String);
      if (image !== this.#options.after.images.get(path)) this.#note(path, 'is not new at the end');
    }
    this.#agent.destroy();
    return [...this.#wrong];
  }

  async #client(paths: readonly string[], first: number): Promise<void> {
    for (let at = first; !this.#isOver; at += 1) {
      const path = paths[at % paths.length]!;
      const mirror = this.#mirror;
      try {
        await this.#pull(path);
      } catch (error) {
        await this.#judge(path, { error, mirror });
      }
    }
  }

  /** `mirror` is the one that was there when the pull began. */
  async #judge(
    path: string,
    { error, mirror }: { readonly error: unknown; readonly mirror: ChildMirror },
  ): Promise<void> {
    await Promise.race([mirror.gone, pause(NOTICE_MS)]);
    if (!this.#isGone && this.#mirror === mirror) this.#note(path, String(error));
    await pause(RETRY_MS);
  }

  /** What the tag means; `undefined` when it means nothing yet. */
  async #pull(path: string): Promise<Image | undefined> {
    const hadMoved = this.#hasMoved;
    const { before, after } = this.#options;
    const answer = await this.#get(path);
    const digest = answer.status === 200 ? answer.headers['docker-content-digest'] : undefined;
    const [old, fresh] = [before?.images.get(path), after.images.get(path)!];
    if (digest === fresh.manifest.digest) this.#hasMoved = true;
    else if (hadMoved) this.#note(path, 'is old after another tag was new');
    else if (digest !== old?.manifest.digest) this.#note(path, `is ${String(digest)}`);
    const image = digest === fresh.manifest.digest ? fresh : old;
    if (digest === undefined || !image) return undefined;
    if (!answer.body.equals(image.manifest.bytes)) this.#note(path, 'has wrong bytes');
    for (const blob of image.blobs) {
      const name = path.replace(/manifests\/.*/, `blobs/${blob.digest}`);
      const { status, body } = await this.#get(name);
      if (status !== 200 || !body.equals(blob.bytes)) this.#note(name, `is wrong (${status})`);
    }
    this.#pulls += 1;
    return image;
  }

  async #get(path: string): ReturnType<typeof get> {
    return get(`${this.#mirror.url}/v2/${path}`, { agent: this.#agent });
  }

  #note(path: string, what: string): void {
    this.#wrong.add(`${path} ${what}`);
  }
}
