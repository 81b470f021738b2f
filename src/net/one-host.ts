import type { PemFile } from '../config/pem.ts';
import type { TransportParts } from './transport.ts';

interface OneHost {
  /** What people call it. */
  readonly name: string;
  readonly url: string;
  /** The only authority of its certificate; left out: those of the system. */
  readonly ca?: PemFile | undefined;
  /** The variables that name a proxy; left out: there is none in between. */
  readonly environment?: TransportParts['config']['environment'];
}

/** For a transport to one host that is no upstream: it sends nobody on to a storage or a token service. */
export function oneHost({ name, url, ca, environment }: OneHost): TransportParts['config'] {
  return {
    name,
    url,
    tls: {
      insecure: false,
      system: ca === undefined,
      only: ca !== undefined,
      ...(ca && { ca: ca.contents, files: { ca: ca.path } }),
    },
    storage: [],
    realms: [],
    ...(environment && { environment }),
  };
}
