import { createServer, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { MirrorProcess } from '../../helpers/process.ts';
import { serve } from '../../helpers/serve.ts';
import { temporaryFolder } from './folder.ts';
import { resident, type Peak } from './resident.ts';
import type { Attack, Scope, Verdict } from './attack.ts';

const CLIENTS = 800;
const BLOB_BYTES = 8 * 1024 * 1024;
const CONCURRENCY = 8;
const WATCHED_MS = 20_000;
/** The budget of the design: what waits for its turn holds no body. */
const MOST_RESIDENT_MIB = 350;

export const attack: Attack = {
  claim: `${CLIENTS} cold blobs of 8 MiB, asked for at once by clients that do not read, take bounded memory and connections`,
  run,
};

async function run(scope: Scope): Promise<Verdict> {
  const bodies = { open: 0, most: 0 };
  const chunk = Buffer.alloc(256 * 1024, 1);
  const registry = createServer(async ({ method, url = '' }, response) => {
    if (!url.includes('/blobs/')) return response.writeHead(200).end('{}');
    response.writeHead(200, { 'Content-Length': BLOB_BYTES });
    if (method === 'HEAD') return response.end();
    bodies.most = Math.max(bodies.most, (bodies.open += 1));
    // Its last byte ends it for the mirror, which learns nothing of what comes after.
    const ended = Promise.withResolvers<void>();
    response.on('close', () => ended.resolve());
    void ended.promise.then(() => (bodies.open -= 1));
    for (let sent = 0; sent < BLOB_BYTES && !response.destroyed; sent += chunk.length) {
      await sleep(20);
      if (sent + chunk.length >= BLOB_BYTES) ended.resolve();
      response.write(chunk);
    }
    return response.end();
  });
  const { href } = await serve(scope, registry);
  const mirror = await MirrorProcess.start(scope, await temporaryFolder(scope), {
    upstreams: { 'docker.io': { url: href.replace(/\/$/, ''), concurrency: CONCURRENCY } },
  });
  const peak: Peak = resident(scope, mirror.pid);
  for (let number = 0; number < CLIENTS; number += 1) {
    const digest = `sha256:${number.toString(16).padStart(64, 'a')}`;
    const asking = request(`${mirror.url}/v2/library/app/blobs/${digest}`, { agent: false });
    asking.on('response', (answer) => answer.on('error', () => undefined).pause());
    asking.on('error', () => undefined).end();
    scope.teardown(() => void asking.destroy());
  }
  await sleep(WATCHED_MS);
  return {
    holds: peak.mebibytes < MOST_RESIDENT_MIB && bodies.most <= CONCURRENCY,
    seen: `at most ${peak.mebibytes} MiB resident and ${bodies.most} bodies open at the upstream`,
  };
}
