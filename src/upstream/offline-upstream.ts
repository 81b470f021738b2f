import type { Upstream } from './upstream.ts';
import { UpstreamError } from '../oci/upstream-error.ts';

/** Stands for every upstream of a mirror that is set offline: there is no code here that could dial. */
export class OfflineUpstream implements Upstream {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  get status(): Upstream['status'] {
    return { state: 'offline', accounts: [] };
  }

  async headManifest(): Promise<never> {
    throw this.#refusal();
  }

  async getManifest(): Promise<never> {
    throw this.#refusal();
  }

  async headBlob(): Promise<never> {
    throw this.#refusal();
  }

  async getBlob(): Promise<never> {
    throw this.#refusal();
  }

  async listTags(): Promise<never> {
    throw this.#refusal();
  }

  async listReferrers(): Promise<never> {
    throw this.#refusal();
  }

  async listRepositories(): Promise<never> {
    throw this.#refusal();
  }

  async close(): Promise<void> {}

  #refusal(): UpstreamError {
    return new UpstreamError(
      this.name,
      'offline',
      'this mirror is set offline and asks no upstream',
    );
  }
}
