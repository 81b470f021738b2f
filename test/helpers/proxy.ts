import { createServer, type RequestListener } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import { serve } from './serve.ts';

export interface Proxy {
  readonly url: string;
  /** `CONNECT host:port`, or the method and the address of a request that is not tunnelled. */
  readonly lines: string[];
}

interface ProxyOptions {
  /** Where a tunnel leads that was asked for: a host with its port, or the status that refuses it. */
  readonly lead?: (address: string) => string | number;
  /** What becomes of a request that is not tunnelled; left out, 501. */
  readonly forward?: RequestListener;
}

/** A proxy on the way, which writes down what it was asked for. */
export async function startProxy(
  t: ExecutionContext,
  { lead = (address) => address, forward = refuse }: ProxyOptions = {},
): Promise<Proxy> {
  const lines: string[] = [];
  const server = createServer((request, response) => {
    lines.push(`${request.method} ${request.url}`);
    forward(request, response);
  });
  server.on('connect', ({ url = '' }, socket: Socket) => {
    lines.push(`CONNECT ${url}`);
    const to = lead(url);
    if (typeof to === 'number') {
      socket.end(`HTTP/1.1 ${to} No\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    const { hostname, port } = new URL(`http://${to}`);
    // Of a URL, 80 is the port that is not written.
    const onward = connect(Number(port || 80), hostname, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.pipe(onward).pipe(socket);
    });
    onward.on('error', () => socket.destroy());
    socket.on('close', () => onward.destroy());
  });
  const { origin } = await serve(t, server);
  return { url: origin, lines };
}

const refuse: RequestListener = (_, response) => void response.writeHead(501).end();
