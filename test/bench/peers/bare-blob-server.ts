// The least that Node can do to send a file: bare-blob-server.ts PORT FOLDER [CERT KEY http1|http2]
//
// One mebibyte is read while the one before it is written.
import { readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { createSecureServer } from 'node:http2';
import { createServer as createTlsServer } from 'node:https';
import { join } from 'node:path';

const [port, folder = '', cert, key, protocol] = process.argv.slice(2);
const BUFFER_BYTES = 1024 * 1024;
const spare: [Buffer, Buffer][] = [];

function answer(request: { url?: string | undefined }, response: ServerResponse): void {
  const hex = /sha256:([0-9a-f]+)$/.exec(request.url ?? '')?.[1] ?? '';
  send(join(folder, hex), response).catch(() => response.destroy());
}

function start() {
  if (cert === undefined || key === undefined) return createServer(answer);
  const pair = { cert: readFileSync(cert), key: readFileSync(key) };
  if (protocol !== 'http2') return createTlsServer(pair, answer);
  // Node's compatibility API: what is used here is the same.
  return createSecureServer(pair, (request, response) =>
    answer(request, response as unknown as ServerResponse),
  );
}

start().listen(Number(port), '127.0.0.1');

async function send(path: string, response: ServerResponse): Promise<void> {
  await using file = await open(path);
  const { size } = await file.stat();
  response.writeHead(200, { 'Content-Length': size });
  const buffers = spare.pop() ?? [
    Buffer.allocUnsafeSlow(BUFFER_BYTES),
    Buffer.allocUnsafeSlow(BUFFER_BYTES),
  ];
  let writing: Promise<void> = Promise.resolve();
  for (let position = 0, turn = 0; position < size; turn += 1) {
    const buffer = buffers[turn % 2 === 0 ? 0 : 1];
    const { bytesRead } = await file.read(buffer, 0, BUFFER_BYTES, position);
    position += bytesRead;
    await writing;
    writing = new Promise((resolve) => {
      response.write(buffer.subarray(0, bytesRead), () => resolve());
    });
  }
  await writing;
  response.end();
  spare.push(buffers);
}
