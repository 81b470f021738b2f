import { Agent } from 'node:http';
import { get, open, TruncatedError, type ClientAnswer } from '../helpers/client.ts';
import { Chance } from './chance.ts';
import type { Promises } from './promises.ts';
import type { World, WorldImage } from './world.ts';

export interface LoadParts {
  readonly world: World;
  readonly promises: Promises;
  readonly url: string;
  readonly seed: number;
  readonly clients: number;
}

/** Clients that pull images one after the other, and look at every byte. */
export class Load {
  readonly #parts: LoadParts;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #clients: Promise<void>;
  #isOver = false;
  #pulls = 0;
  /** What no client may ever see. */
  readonly wrong: string[] = [];

  constructor(parts: LoadParts) {
    this.#parts = parts;
    const clients = Array.from({ length: parts.clients }, async (_, number) =>
      this.#client(new Chance(parts.seed + number)),
    );
    this.#clients = Promise.all(clients).then(() => undefined);
  }

  /** Images that were pulled to the end. */
  get pulls(): number {
    return this.#pulls;
  }

  /** What fails from here on fails because the mirror is gone. */
  expectDeath(): void {
    this.#isOver = true;
  }

  /** Resolves when every client has seen the end. */
  async end(): Promise<void> {
    this.expectDeath();
    await this.#clients;
    this.#agent.destroy();
  }

  async #client(chance: Chance): Promise<void> {
    const { world } = this.#parts;
    while (!this.#isOver) {
      const image = chance.pickZipf(world.images);
      if (chance.next() < 0.05) world.moveTag(chance);
      try {
        await this.#pull(image, chance);
        this.#pulls += 1;
      } catch (error) {
        await this.#judge(error);
      }
    }
  }

  /** A client may see the kill before anybody told. */
  async #judge(error: unknown): Promise<void> {
    if (this.#isOver) return;
    const { code } = error as NodeJS.ErrnoException;
    const isCut = error instanceof TruncatedError || code === 'ECONNRESET' || code === 'EPIPE';
    if (isCut || code === 'ECONNREFUSED') await new Promise((resolve) => setTimeout(resolve, 200));
    if (!this.#isOver) this.wrong.push(String(error));
  }

  async #pull({ repository, ...image }: WorldImage, chance: Chance): Promise<void> {
    const { world, promises } = this.#parts;
    const tag = world.tagOf({ repository, ...image }, chance);
    const { headers } = await this.#get(`${repository}/manifests/${tag}`, undefined);
    const digest = String(headers['docker-content-digest']);
    const found = world.imageOf(repository, digest);
    if (!found) throw new Error(`${repository}:${tag} is ${digest}, which is none of its images`);
    const askedAt = Date.now();
    const again = await this.#get(`${repository}/manifests/${digest}`, digest);
    const held = { repository, image: digest, digest, at: askedAt };
    if (isHit(again)) promises.add({ ...held, kind: 'manifests' });
    for (const { digest: blob } of found.blobs) {
      if (chance.next() < 0.05) await this.#leave(`${repository}/blobs/${blob}`);
      await this.#get(`${repository}/blobs/${blob}`, blob);
      const at = Date.now();
      if (chance.next() < 0.5 && isHit(await this.#get(`${repository}/blobs/${blob}`, blob))) {
        promises.add({ ...held, kind: 'blobs', digest: blob, at });
      }
    }
  }

  /** The whole answer, which must be what was asked for. */
  async #get(path: string, digest: string | undefined): Promise<ClientAnswer> {
    const answer = await get(`${this.#parts.url}/v2/${path}`, { agent: this.#agent });
    const { status, headers, body } = answer;
    if (status !== 200) throw new Error(`${path}: ${status} ${body.toString()}`);
    const actual = digest ?? String(headers['docker-content-digest']);
    if (!this.#parts.world.isRight(actual, body)) {
      this.wrong.push(`${path}: completed with wrong bytes`);
    }
    return answer;
  }

  /** A client that goes in the middle. */
  async #leave(path: string): Promise<void> {
    const response = await open(`${this.#parts.url}/v2/${path}`, { agent: this.#agent });
    await response.read(100);
    response.destroy();
  }
}

export function isHit({ headers }: Pick<ClientAnswer, 'headers'>): boolean {
  return headers['cache-status'] === 'entrepot; hit';
}
