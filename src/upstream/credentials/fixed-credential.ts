import type { Credential, CredentialSource } from './credential.ts';

/** The credential of the configuration; there is no other one when it is refused. */
export class FixedCredential implements CredentialSource {
  readonly label: string;
  readonly #credential: Credential;

  constructor(label: string, credential: Credential) {
    this.label = label;
    this.#credential = credential;
  }

  async get(): Promise<Credential> {
    return this.#credential;
  }

  refuse(): boolean {
    return false;
  }
}
