// Stands before a registry and writes down what each answer with a body weighs: metering-proxy.ts PORT TARGET-PORT LOG RATE
//
// A line of JSON for each answer, when it ends or is broken off. Each connection brings RATE bytes a second.
import { appendFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const [port, targetPort, log, rate] = process.argv.slice(2);

const server = createServer((incoming, outgoing) => {
  const { method, url: path, rawHeaders: headers } = incoming;
  const { range } = incoming.headers;
  const onward = request({ host: '127.0.0.1', port: targetPort, method, path, headers });
  onward.on('response', (answer) => {
    outgoing.writeHead(answer.statusCode!, answer.statusMessage, answer.rawHeaders);
    let bytes = 0;
    const began = performance.now();
    async function* slowly(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
      for await (const chunk of chunks) {
        const early = (bytes / Number(rate)) * 1000 - (performance.now() - began);
        if (early > 5) await sleep(early);
        bytes += chunk.length;
        yield chunk;
      }
    }
    void pipeline(answer, slowly, outgoing)
      .catch(() => outgoing.destroy())
      .finally(() => {
        if (bytes > 0) appendFileSync(log!, `${JSON.stringify({ path, range, bytes })}\n`);
      });
  });
  onward.on('error', () => outgoing.destroy());
  pipeline(incoming, onward).catch(() => outgoing.destroy());
});
server.listen(Number(port), '127.0.0.1');
