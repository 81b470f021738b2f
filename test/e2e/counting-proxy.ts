// Stands before a registry and writes down what it is asked: counting-proxy.ts PORT TARGET-PORT LOG
//
// A line `connection` for each connection, a line `METHOD /path` for each request, written before
// the answer begins. Nothing else is touched. From SIGUSR2 on it takes requests and never answers.
import { appendFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { pipeline } from 'node:stream/promises';

const [port, targetPort, log] = process.argv.slice(2);
let hangs = false;

const server = createServer((incoming, outgoing) => {
  const { method, url: path, rawHeaders: headers } = incoming;
  appendFileSync(log!, `${method} ${path}\n`);
  if (hangs) return;
  const onward = request({ host: '127.0.0.1', port: targetPort, method, path, headers });
  onward.on('response', (answer) => {
    outgoing.writeHead(answer.statusCode!, answer.statusMessage, answer.rawHeaders);
    pipeline(answer, outgoing).catch(() => outgoing.destroy());
  });
  onward.on('error', () => outgoing.destroy());
  pipeline(incoming, onward).catch(() => outgoing.destroy());
});
server.on('connection', () => appendFileSync(log!, 'connection\n'));
process.on('SIGUSR2', () => {
  hangs = true;
  appendFileSync(log!, 'hangs\n');
});
server.listen(Number(port), '127.0.0.1');
