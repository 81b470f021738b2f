// Lets a client push where it pulls through the mirror: splitting-proxy.ts PORT MIRROR-PORT UPSTREAM-PORT
//
// Reads go to the mirror. Writes go to the upstream, and so does all that belongs to an upload.
import { createServer, request } from 'node:http';
import { pipeline } from 'node:stream/promises';

const [port, mirrorPort, upstreamPort] = process.argv.slice(2);

const server = createServer((incoming, outgoing) => {
  const { method, url: path, rawHeaders: headers } = incoming;
  const reads = method === 'GET' || method === 'HEAD';
  const target = reads && !path!.includes('/blobs/uploads/') ? mirrorPort : upstreamPort;
  const onward = request({ host: '127.0.0.1', port: target, method, path, headers });
  onward.on('response', (answer) => {
    outgoing.writeHead(answer.statusCode!, answer.statusMessage, answer.rawHeaders);
    pipeline(answer, outgoing).catch(() => outgoing.destroy());
  });
  onward.on('error', () => outgoing.destroy());
  pipeline(incoming, onward).catch(() => outgoing.destroy());
});
server.listen(Number(port), '127.0.0.1');
