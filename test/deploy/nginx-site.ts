import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { createCertificates } from '../helpers/certificate.ts';
import { claimPort } from '../helpers/claim-port.ts';
import { get } from '../helpers/client.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { until } from '../helpers/until.ts';

const FILE = join(import.meta.dirname, '..', '..', 'deploy', 'nginx', 'entrepot.conf');

export interface NginxSite {
  /** Where clients find it, by TLS. */
  readonly url: string;
  /** Of the authority of its certificate. */
  readonly ca: Buffer;
}

/**
 * Nginx with the shipped file, but for its ports and its certificate, before a mirror. `cache`: what an
 * operator adds to it for answers to be kept, in a zone `images`.
 */
export async function startNginx(
  t: ExecutionContext,
  mirror: string,
  cache?: string,
): Promise<NginxSite> {
  const folder = await createTempFolder(t);
  const { ca, server } = await createCertificates();
  const port = await claimPort();
  const [cert, key] = [join(folder, 'tls.crt'), join(folder, 'tls.key')];
  await writeFile(cert, server.cert);
  await writeFile(key, server.key);
  const site = (await readFile(FILE, 'utf8'))
    .replace('server 127.0.0.1:5000;', `server ${new URL(mirror).host};`)
    .replace('listen 443 ssl;', `listen 127.0.0.1:${port} ssl;`)
    .replace('    listen [::]:443 ssl;\n', '')
    .replace('/etc/ssl/mirror.example.crt', cert)
    .replace('/etc/ssl/mirror.example.key', key)
    .replace('proxy_buffering off;', cache ?? 'proxy_buffering off;');
  for (const name of ['body', 'proxy']) await mkdir(join(folder, name));
  const main = join(folder, 'nginx.conf');
  await writeFile(
    main,
    `${process.getuid?.() === 0 ? 'user root;' : ''} daemon off; pid ${folder}/pid; error_log stderr;
     events {}
     http { access_log off; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
            fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
            proxy_cache_path ${folder}/cache keys_zone=images:1m;
            ${site} }`,
  );
  const args = ['-c', main, '-e', 'stderr'];
  const checked = spawnSync('nginx', ['-t', ...args], { encoding: 'utf8' });
  t.is(checked.status, 0, checked.stderr);
  t.notRegex(checked.stderr, /warn/);
  const nginx = spawn('nginx', args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const gone = once(nginx, 'exit');
  t.teardown(async () => {
    nginx.kill('SIGQUIT');
    await gone;
  });
  const url = `https://127.0.0.1:${port}`;
  await until('nginx listens', async () =>
    get(`${url}/`, { tls: { ca } }).then(
      () => true,
      () => false,
    ),
  );
  return { url, ca };
}
