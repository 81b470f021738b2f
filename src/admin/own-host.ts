import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { RegistryError } from '../oci/errors.ts';
import { TEXTS } from './texts.ts';

/**
 * Refuses what was asked under a name that is not this listener's. A page of a name that its owner
 * points here (DNS rebinding) is of the same origin as the API for a browser, and its `Host` is the
 * one thing that it cannot change. A listener that the operator opened to a network goes by names
 * that only the network knows. Throws `DENIED`.
 */
export function requireOwnHost(request: IncomingMessage, configured: string): void {
  if (isOfSocketFile(request) || isOpenToNetwork(configured)) return;
  const { host = '' } = request.headers;
  const name = host.replace(/:\d*$/, '').replace(/\.$/, '').toLowerCase();
  const own = ['localhost', configured.toLowerCase()];
  if (isAddress(name) || own.includes(name)) return;
  throw new RegistryError('DENIED', {
    message: TEXTS.otherHost({ host: JSON.stringify(host.slice(0, 255)) }),
  });
}

/** Who may open it is a matter of its folder's mode; no browser can. */
function isOfSocketFile({ socket }: IncomingMessage): boolean {
  // A closed connection has no address either.
  return !socket.destroyed && socket.localAddress === undefined;
}

function isOpenToNetwork(configured: string): boolean {
  return isIP(configured) !== 0 && !/^(?:127\.|::1$)/.test(configured);
}

function isAddress(name: string): boolean {
  const [, bracketed] = /^\[(.*)\]$/.exec(name) ?? [];
  return bracketed === undefined ? isIP(name) === 4 : isIP(bracketed) === 6;
}
