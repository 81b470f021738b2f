import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { Agent, buildConnector } from 'undici';
import { Exchange } from '../../src/net/exchange.ts';
import { ExpectedBody } from '../../src/net/expected-body.ts';
import { SOCKET_READING } from '../../src/net/socket-reading.ts';
import { buildBlob } from '../helpers/image.ts';
import { serve } from '../helpers/serve.ts';

const SIZE = 6 * 1024 * 1024;

interface Opened {
  readonly socket: Socket;
  readonly bytes: Buffer;
  readonly body: ExpectedBody;
}

/** Two sockets that are sent different bodies at once and read into the same memory. */
async function openTwo(t: ExecutionContext): Promise<Opened[]> {
  const bodies = [buildBlob(1, SIZE).bytes, buildBlob(2, SIZE).bytes];
  let next = 0;
  const server = createServer((peer) => peer.end(bodies[(next += 1) - 1] ?? '')).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const opened: Opened[] = [];
  for (const bytes of bodies) {
    const socket = connect({ port, host: '127.0.0.1', onread: SOCKET_READING });
    t.teardown(() => socket.destroy());
    const accepted = once(server, 'connection');
    await Promise.all([once(socket, 'connect'), accepted]);
    const body = expect(socket, bytes.length);
    opened.push({ socket, bytes, body });
  }
  server.close();
  return opened;
}

function expect(socket: Socket, length: number): ExpectedBody {
  let body: ExpectedBody | undefined;
  ExpectedBody.reading(socket, () => (body = new ExpectedBody(String(length))));
  return body!;
}

test('who takes all at once has it, although all sockets are read into one buffer', async (t) => {
  const opened = await openTwo(t);
  await Promise.all(
    opened.map(async ({ socket, bytes, body }) => {
      const chunks: Buffer[] = [];
      socket.on('readable', () => {
        for (
          let chunk = socket.read() as Buffer | null;
          chunk;
          chunk = socket.read() as Buffer | null
        ) {
          body.came(chunk.length);
          chunks.push(Buffer.from(chunk));
        }
      });
      await once(socket, 'end');
      t.true(Buffer.concat(chunks).equals(bytes));
    }),
  );
});

test('who leaves bytes where they are finds them later, and is not sent more than a little', async (t) => {
  const opened = await openTwo(t);
  await Promise.all(
    opened.map(async ({ socket, bytes, body }, index) => {
      const chunks: Buffer[] = [];
      let most = 0;
      let isTaking = false;
      // In a later turn, and of the second one every other chunk is put back once.
      let isBack = index === 0;
      const take = (): void => {
        isTaking = false;
        for (
          let chunk = socket.read() as Buffer | null;
          chunk;
          chunk = socket.read() as Buffer | null
        ) {
          isBack = index === 0 || !isBack;
          if (!isBack) {
            socket.unshift(chunk);
            continue;
          }
          body.came(chunk.length);
          chunks.push(Buffer.from(chunk));
        }
      };
      socket.on('readable', () => {
        most = Math.max(most, socket.readableLength);
        if (isTaking) return;
        isTaking = true;
        setImmediate(take);
      });
      await once(socket, 'end');
      t.true(Buffer.concat(chunks).equals(bytes));
      t.true(most <= 1024 * 1024);
    }),
  );
});

/** Headers that come in two pieces, and between these another connection's answer. */
async function split(t: ExecutionContext, before: string, method: 'GET' | 'HEAD') {
  const asked = Promise.withResolvers<Socket>();
  const start = (which: string): string =>
    `HTTP/1.1 200 OK\r\nX-Which: ${which}\r\nLocation: /of-${which}\r\n`;
  const server = createServer((peer) => {
    peer.on('data', (bytes) => {
      if (bytes.includes('/before')) peer.write(before);
      else if (bytes.includes('/one')) peer.write(start('a'), () => asked.resolve(peer));
      else peer.write(`${start('b'.repeat(200))}Content-Length: 2\r\n\r\nno`);
    });
  });
  const origin = await serve(t, server);
  const connect = buildConnector({ onread: SOCKET_READING } as never);
  const [one, other] = [1, 2].map(() => new Agent({ connect, connections: 1 })) as [Agent, Agent];
  t.teardown(async () => Promise.all([one.destroy(), other.destroy()]));
  const ask = async (agent: Agent, path: string, how: 'GET' | 'HEAD' = 'GET') => {
    const exchange = new Exchange(() => {}, { isStream: true });
    exchange.dispatch(agent, { method: how, url: new URL(path, origin), headers: {} });
    const { headers, body } = await exchange.response;
    const text = String((await body.next()) ?? '');
    await exchange.ended;
    return { which: headers['x-which'], location: headers.location, text };
  };
  if (before !== '') await ask(one, '/before', method);
  const answered = ask(one, '/one');
  const peer = await asked.promise;
  // Its first piece has been read when the answer to a later question has.
  await ask(other, '/other');
  peer.write('Content-Length: 2\r\n\r\nok');
  return answered;
}

const SPLIT: [when: string, before: string, method: 'GET' | 'HEAD'][] = [
  ['come first on a connection', '', 'GET'],
  ['come after an answer with a body', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes', 'GET'],
  [
    'come after the headers of a large body that was not asked for',
    'HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n',
    'HEAD',
  ],
];

for (const [when, before, method] of SPLIT) {
  test(`headers that ${when}, in two pieces, have nothing of another connection`, async (t) => {
    t.deepEqual(await split(t, before, method), { which: 'a', location: '/of-a', text: 'ok' });
  });
}
