// A registry that serves a folder of `Content`: upstream-registry.ts PORT FOLDER
//
// Asked by its parent it tells how many requests, of these for manifests, and GETs for blobs it has had
// and how many bytes of blobs it has sent since it was last asked, and how many it is sending.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

const [port, folder = ''] = process.argv.slice(2);
const NOTHING = { requests: 0, manifestRequests: 0, blobGets: 0, blobBytes: 0 };
let counts = { ...NOTHING };
let underway = 0;

createServer((request, response) => {
  counts.requests += 1;
  answer(request, response).catch(() => response.destroy());
}).listen(Number(port), '127.0.0.1');

process.on('message', () => {
  process.send?.({ ...counts, underway });
  counts = { ...NOTHING };
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, kind, reference = ''] =
    /^\/v2\/.+\/(blobs|manifests)\/([^/?]+)$/.exec(request.url ?? '') ?? [];
  try {
    if (kind === 'blobs') await sendBlob(reference, request, response);
    else if (kind === 'manifests') await sendManifest(reference, request, response);
    else if (/\/tags\/list(\?|$)/.test(request.url ?? '')) await sendTags(response);
    else response.writeHead(request.url === '/v2/' ? 200 : 404).end();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    response.writeHead(404).end();
  }
}

/** Each on a connection of its own, as from a content network: nobody saves a handshake. */
async function sendBlob(
  digest: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = join(folder, 'blobs', digest.replace('sha256:', ''));
  const { size } = await stat(path);
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  const start = Number(first ?? 0);
  const end = last === undefined || last === '' ? size : Math.min(Number(last) + 1, size);
  response.writeHead(first === undefined ? 200 : 206, {
    'Content-Type': 'application/octet-stream',
    'Content-Length': end - start,
    'Docker-Content-Digest': digest,
    Connection: 'close',
    ...(first !== undefined && { 'Content-Range': `bytes ${start}-${end - 1}/${size}` }),
  });
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  counts.blobGets += 1;
  const file = createReadStream(path, { start, end: end - 1, highWaterMark: 256 * 1024 });
  file.on('data', (chunk) => (counts.blobBytes += chunk.length));
  underway += 1;
  try {
    await pipeline(file, response);
  } finally {
    underway -= 1;
  }
}

/** All of them in one page. */
async function sendTags(response: ServerResponse): Promise<void> {
  const names = await readdir(join(folder, 'manifests'));
  const tags = names.filter((name) => !name.startsWith('sha256:')).toSorted();
  response.writeHead(200, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ name: 'bench/image', tags }));
}

async function sendManifest(
  reference: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  counts.manifestRequests += 1;
  const bytes = await readFile(join(folder, 'manifests', reference));
  response.writeHead(200, {
    'Content-Type': 'application/vnd.oci.image.manifest.v1+json',
    'Content-Length': bytes.length,
    'Docker-Content-Digest': `sha256:${createHash('sha256').update(bytes).digest('hex')}`,
  });
  response.end(request.method === 'HEAD' ? undefined : bytes);
}
