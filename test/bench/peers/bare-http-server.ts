// The least that Node can do to give one answer: bare-http-server.ts PORT HEADERS-JSON BODY-FILE [CERT KEY]
import { readFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';

const [port, headers = '{}', bodyFile = '', cert, key] = process.argv.slice(2);
const fields = Object.entries(JSON.parse(headers) as Record<string, string>).flat();
const body = readFileSync(bodyFile);
const answer: RequestListener = (_, response) => {
  response.writeHead(200, fields);
  response.end(body);
};
const server =
  cert === undefined || key === undefined
    ? createServer(answer)
    : createTlsServer({ cert: readFileSync(cert), key: readFileSync(key) }, answer);
server.listen(Number(port), '127.0.0.1');
