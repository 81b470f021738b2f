import type { IncomingMessage } from 'node:http';

/**
 * The address of who asks, for the access log and for fair turns: that of the connection. An IPv4
 * address that arrives on an IPv6 socket is itself.
 */
export function clientOf({ socket }: IncomingMessage): string | undefined {
  return socket.remoteAddress?.replace(/^::ffff:(?=\d+\.)/, '');
}
