import { createHash, randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { get } from '../../helpers/client.ts';
import { MirrorProcess } from '../../helpers/process.ts';
import { serve } from '../../helpers/serve.ts';
import { temporaryFolder } from './folder.ts';
import { resident } from './resident.ts';
import type { Attack, Scope, Verdict } from './attack.ts';

const CONNECTIONS = 10;
const REQUESTS = 500;
const WATCHED_MS = 10_000;
/** The budget of the design: an answer is begun when the one before it has ended. */
const MOST_RESIDENT_MIB = 350;
/** Of a server that rests, and two for each connection: its socket and the file that it is sent. */
const MOST_DESCRIPTORS = 100 + 2 * CONNECTIONS;

export const attack: Attack = {
  claim: `${CONNECTIONS} connections with ${REQUESTS} pipelined GETs each, of which nobody reads the answers, take bounded memory and descriptors`,
  run,
};

async function run(scope: Scope): Promise<Verdict> {
  const blob = randomBytes(1024 * 1024);
  const digest = `sha256:${createHash('sha256').update(blob).digest('hex')}`;
  const registry = createServer(({ method, url = '' }, response) => {
    if (!url.endsWith(digest)) return response.writeHead(200).end('{}');
    response.writeHead(200, { 'Content-Length': blob.length });
    return response.end(method === 'HEAD' ? undefined : blob);
  });
  const { href } = await serve(scope, registry);
  const mirror = await MirrorProcess.start(scope, await temporaryFolder(scope), {
    upstreams: { 'docker.io': { url: href.replace(/\/$/, '') } },
  });
  const path = `/v2/library/app/blobs/${digest}`;
  const first = await get(`${mirror.url}${path}`);
  const peak = resident(scope, mirror.pid);
  const { hostname, port } = new URL(mirror.url);
  const requests = `GET ${path} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`.repeat(REQUESTS);
  for (let number = 0; number < CONNECTIONS; number += 1) {
    const socket = connect(Number(port), hostname).on('error', () => undefined);
    socket.pause();
    socket.write(requests);
    scope.teardown(() => void socket.destroy());
  }
  await sleep(WATCHED_MS);
  const descriptors = readdirSync(`/proc/${mirror.pid}/fd`).length;
  return {
    holds:
      first.status === 200 && peak.mebibytes < MOST_RESIDENT_MIB && descriptors < MOST_DESCRIPTORS,
    seen: `at most ${peak.mebibytes} MiB resident, ${descriptors} descriptors`,
  };
}
