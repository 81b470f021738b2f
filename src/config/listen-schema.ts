import { z } from 'zod';
import { checkKeyPair } from './key-pair.ts';
import { parseListenAddress } from './listen-address.ts';
import { readPemFile } from './pem-file.ts';
import { converted } from './section.ts';
import type { Source } from './source.ts';

const ADVICE =
  'write an address and a port such as "0.0.0.0:5000", or { address: …, tls: { cert: PATH, key: PATH } }';

/** An address, or an address and what it takes to serve HTTPS there. */
export function listenSchema(source: Source, defaultAddress: string) {
  const address = z.string().transform(converted(parseListenAddress));
  const addressAndTls = z
    .strictObject({
      address: address.prefault(defaultAddress).describe('Address and port.'),
      tls: tlsSchema(source).nullish().describe('Serve HTTPS.'),
    })
    .transform(({ address: { host, port }, tls }) => ({ host, port, ...(tls && { tls }) }));
  return z.union([address, addressAndTls], { error: ADVICE }).prefault(defaultAddress);
}

/** Checks the files and keeps their paths: they are read again when they change. */
function tlsSchema({ directory }: Source) {
  const pem = z
    .string({ error: 'write the path of a PEM file' })
    .transform(converted((path: string) => readPemFile(path, directory)));
  return z
    .strictObject({
      cert: pem.describe('PEM file of the certificate and its chain.'),
      key: pem.describe('PEM file of the key.'),
    })
    .transform(
      converted(({ cert, key }) => {
        checkKeyPair(cert.contents, key.contents);
        return { cert: cert.path, key: key.path };
      }),
    );
}
