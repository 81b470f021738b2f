import { createServer } from 'node:http';
import { get } from '../../helpers/client.ts';
import { MirrorProcess } from '../../helpers/process.ts';
import { serve } from '../../helpers/serve.ts';
import type { Attack, Scope, Verdict } from './attack.ts';
import { temporaryFolder } from './folder.ts';
import { resident } from './resident.ts';

/** Of a small machine; all lists together must fit beside all else. */
const HEAP_MIB = 256;
const REPOSITORIES = 12;
const PAGES = 4;
const PAGE_BYTES = 4_100_000;

export const attack: Attack = {
  claim: `a heap of ${HEAP_MIB} MiB survives many long lists at once, and pages made to take much memory`,
  run,
};

async function run(scope: Scope): Promise<Verdict> {
  const registry = createServer(({ url = '' }, response) => {
    if (url.endsWith('/v2/')) return response.writeHead(200).end('{}');
    const [path = '', query = ''] = url.split('?');
    const page = Number(new URLSearchParams(query).get('page') ?? 1);
    const body = path.includes('/hostile')
      ? hostile(page)
      : path.includes('/tags/')
        ? names(page)
        : referrers(page);
    response.writeHead(200, {
      'Content-Type': path.includes('/referrers/')
        ? 'application/vnd.oci.image.index.v1+json'
        : 'application/json',
      ...(page < PAGES && { Link: `<${path}?page=${page + 1}>; rel="next"` }),
    });
    return response.end(body);
  });
  const { href } = await serve(scope, registry);
  const mirror = await MirrorProcess.start(
    scope,
    await temporaryFolder(scope),
    { upstreams: { 'docker.io': { url: href.replace(/\/$/, '') } } },
    { heapMebibytes: HEAP_MIB },
  );
  const peak = resident(scope, mirror.pid);
  const subject = `sha256:${'ab'.repeat(32)}`;
  const statuses = new Map<number, number>();
  const ask = async (path: string): Promise<void> => {
    const { status } = await get(`${mirror.url}${path}`);
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  };
  const repositories = Array.from({ length: REPOSITORIES }, (_, number) => `library/r${number}`);
  for (const name of repositories) await ask(`/v2/${name}/tags/list?n=1`);
  for (const name of repositories) await ask(`/v2/${name}/referrers/${subject}`);
  await Promise.all(
    repositories.flatMap((name) => [
      ask(`/v2/${name}/late/tags/list?n=1`),
      ask(`/v2/${name}/late/referrers/${subject}`),
      ask(`/v2/${name}/hostile/tags/list?n=1`),
    ]),
  );
  const { status } = await get(`${mirror.adminUrl}/healthz`);
  const told = [...statuses].map(([code, count]) => `${count} × ${code}`).join(', ');
  return {
    holds: status === 200,
    seen: `${told}; resident ${peak.mebibytes} MiB; then healthz ${status}`,
  };
}

/** As many short names as one list may have, in four pages. */
function names(page: number): string {
  return JSON.stringify({
    tags: Array.from({ length: 49_000 }, (_, number) => `${page}.${number}`),
  });
}

function referrers(page: number): string {
  const manifests = Array.from({ length: 9_000 }, (_, number) => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: `sha256:${(page * 100_000 + number).toString(16).padStart(64, '0')}`,
    size: 1,
  }));
  return JSON.stringify({ manifests });
}

/** Each object has a shape of its own. */
function hostile(page: number): string {
  const parts: string[] = [];
  for (let bytes = 0, number = 0; bytes < PAGE_BYTES; number += 1) {
    const part = `{"${(page * 1_000_000 + number).toString(36)}":0}`;
    bytes += part.length + 1;
    parts.push(part);
  }
  return `{"tags":[${parts.join(',')}]}`;
}
