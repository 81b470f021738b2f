import { RegistryError } from '../oci/errors.ts';

/** What a client is told of something that may not leave; requests that end so are counted as refused. */
export class GateRefusal extends RegistryError {
  constructor(message: string) {
    super('DENIED', { message });
  }
}
