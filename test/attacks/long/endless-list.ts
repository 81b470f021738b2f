import { createServer } from 'node:http';
import { get } from '../../helpers/client.ts';
import { MirrorProcess } from '../../helpers/process.ts';
import { serve } from '../../helpers/serve.ts';
import { temporaryFolder } from './folder.ts';
import type { Attack, Scope, Verdict } from './attack.ts';

/** Of a small machine; a listing must fit beside all else. */
const HEAP_MIB = 256;
const PAGE_BYTES = 4 * 1024 * 1024;
const NAME = 'a'.repeat(100);

export const attack: Attack = {
  claim: `a heap of ${HEAP_MIB} MiB survives lists of tags, repositories and referrers that never end`,
  run,
};

async function run(scope: Scope): Promise<Verdict> {
  let pages = 0;
  const registry = createServer(({ url = '' }, response) => {
    if (url.endsWith('/v2/')) return response.writeHead(200).end('{}');
    pages += 1;
    const next = `${url.split('?')[0]}?n=1000&last=${pages}`;
    const isReferrers = url.includes('/referrers/');
    const type = isReferrers ? 'application/vnd.oci.image.index.v1+json' : 'application/json';
    response.writeHead(200, { 'Content-Type': type, Link: `<${next}>; rel="next"` });
    return response.end(isReferrers ? referrers(pages) : names(pages));
  });
  const { href } = await serve(scope, registry);
  const mirror = await MirrorProcess.start(
    scope,
    await temporaryFolder(scope),
    { upstreams: { 'docker.io': { url: href.replace(/\/$/, '') } } },
    { heapMebibytes: HEAP_MIB },
  );
  const answers: string[] = [];
  for (const path of [
    '/v2/library/app/tags/list?n=1',
    '/v2/library/app/tags/list?n=1',
    '/v2/_catalog',
    `/v2/library/app/referrers/sha256:${'ab'.repeat(32)}`,
  ]) {
    const { status } = await get(`${mirror.url}${path}`);
    answers.push(`${status} after ${pages} pages`);
  }
  const { status } = await get(`${mirror.adminUrl}/healthz`);
  return { holds: status === 200, seen: `${answers.join(', ')}; then healthz ${status}` };
}

function names(page: number): string {
  const count = Math.floor(PAGE_BYTES / (NAME.length + 20));
  const list = Array.from({ length: count }, (_, number) => `${NAME}-${page}-${number}`);
  return JSON.stringify({ name: 'library/app', tags: list, repositories: list });
}

function referrers(page: number): string {
  const annotations = { note: NAME.repeat(10) };
  const count = Math.floor(PAGE_BYTES / 1200);
  const manifests = Array.from({ length: count }, (_, number) => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: `sha256:${(page * 100_000 + number).toString(16).padStart(64, '0')}`,
    size: 1,
    annotations,
  }));
  return JSON.stringify({ schemaVersion: 2, mediaType: 'x', manifests });
}
