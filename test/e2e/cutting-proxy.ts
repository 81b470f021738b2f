// A link that breaks: cutting-proxy.ts PORT TARGET-PORT
//
// The first answer to each `GET /path` that has a body of two bytes or more is cut in the middle.
import { createServer, request } from 'node:http';
import { pipeline } from 'node:stream/promises';

const [port, targetPort] = process.argv.slice(2);
const cut = new Set<string>();

const server = createServer((incoming, outgoing) => {
  const { method, url: path, rawHeaders: headers } = incoming;
  const onward = request({ host: '127.0.0.1', port: targetPort, method, path, headers });
  onward.on('response', (answer) => {
    outgoing.writeHead(answer.statusCode!, answer.statusMessage, answer.rawHeaders);
    const length = Number(answer.headers['content-length']);
    if (method === 'GET' && answer.statusCode === 200 && length > 1 && !cut.has(path!)) {
      cut.add(path!);
      let left = Math.floor(length / 2);
      answer.on('data', (chunk: Buffer) => {
        const part = chunk.subarray(0, left);
        left -= part.length;
        outgoing.write(part, () => {
          if (left === 0) outgoing.destroy();
        });
      });
      return;
    }
    pipeline(answer, outgoing).catch(() => outgoing.destroy());
  });
  onward.on('error', () => outgoing.destroy());
  pipeline(incoming, onward).catch(() => outgoing.destroy());
});
server.listen(Number(port), '127.0.0.1');
