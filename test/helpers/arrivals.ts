import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';

/** Resolves once so many more requests have reached the server of this process at the URL. */
export async function arrivals(url: string, count: number): Promise<void> {
  const port = Number(new URL(url).port);
  const { promise, resolve } = Promise.withResolvers<void>();
  let arrived = 0;
  const note = (message: unknown): void => {
    const { socket } = message as { socket: Socket };
    if (socket.localPort !== port) return;
    arrived += 1;
    if (arrived === count) resolve();
  };
  subscribe('http.server.request.start', note);
  await promise;
  unsubscribe('http.server.request.start', note);
}
