/**
 * Every socket that this process opens as a client, from the moment this file is imported: what is
 * dialled is seen at the door of the runtime, whichever library dials.
 *
 *   const dials = watchDials();
 *   dials.allow(mirror.url);            // the test's own way to the mirror
 *   …
 *   t.deepEqual(dials.foreign(), []);
 *
 * The tests of one file run at the same time in one process, so they share one watch.
 */
import { subscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { claimSockets } from './claim-port.ts';

export interface DialWatch {
  /** Dialling this address is the test's own doing. */
  allow(url: string): void;
  /** Address and port of every other dial; `unresolved` when it never got that far. */
  foreign(): string[];
  /** The dials that left this machine, or would have. */
  outside(): string[];
  /** All dials so far, to show that the watch sees them. */
  readonly count: number;
}

const LOCAL = /^(127\.0\.0\.1|::1):/;

export function watchDials(): DialWatch {
  const dials: { address: string }[] = [];
  const allowed = new Set<string>();
  subscribe('net.client.socket', (message) => {
    const { socket } = message as { socket: Socket };
    if (claimSockets.has(socket)) return;
    const dial = { address: 'unresolved' };
    dials.push(dial);
    socket.on('connectionAttempt', (ip, port) => {
      dial.address = `${ip}:${port}`;
    });
  });
  return {
    allow: (url) => void allowed.add(`127.0.0.1:${new URL(url).port}`),
    foreign: () => dials.map(({ address }) => address).filter((address) => !allowed.has(address)),
    outside: () => dials.map(({ address }) => address).filter((address) => !LOCAL.test(address)),
    get count() {
      return dials.length;
    },
  };
}
