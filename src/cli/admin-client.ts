import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { json } from 'node:stream/consumers';
import type { ListenConfig } from '../config/config.ts';
import { formatListenAddress } from '../config/listen-address.ts';

/** The command could not reach the server that it is about; the message says what to do. */
export class AdminError extends Error {
  override readonly name = 'AdminError';
}

const TIMEOUT_MS = 10_000;

/** Asks the admin API of the server that runs with this configuration. Throws `AdminError`. */
export async function askAdmin(admin: ListenConfig, path: string): Promise<unknown> {
  const host = reachable(admin.host);
  const address = formatListenAddress({ host, port: admin.port });
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const options = { host, port: admin.port, path, timeout: TIMEOUT_MS };
  const request = admin.tls
    ? // The certificate names the site, not this address; that it is the same one is what counts.
      httpsRequest({
        ...options,
        ca: readFileSync(admin.tls.cert),
        checkServerIdentity: () => undefined,
      })
    : httpRequest(options);
  request.once('timeout', () => request.destroy(new Error('no answer')));
  request.once('error', ({ message }) => {
    const remedy = 'start it with "entrepot serve", or name its configuration with --config';
    reject(new AdminError(`no server answers at ${address} (${message}): ${remedy}`));
  });
  request.once('response', (response) => {
    const isOk = response.statusCode === 200;
    json(response).then(
      (body) => (isOk ? resolve(body) : reject(refusal(address, response.statusCode))),
      () => reject(refusal(address, response.statusCode)),
    );
  });
  request.end();
  return promise;
}

function refusal(address: string, status: number | undefined): AdminError {
  return new AdminError(
    `what listens at ${address} answered ${status} and is not this version's admin API`,
  );
}

/** Where a listener on all addresses can be reached from this machine. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}
