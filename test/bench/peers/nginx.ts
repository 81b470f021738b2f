import { mkdir, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { BenchProcess, freePort } from '../bench-process.ts';
import { findCommand } from '../commands.ts';
import type { TlsFiles } from '../tls-files.ts';
import type { Workbench } from '../workbench.ts';

/** nginx on the same files, with the settings of Debian's nginx.conf; `undefined` if not installed. */
export async function startNginx(
  bench: Workbench,
  tls?: TlsFiles,
): Promise<BenchProcess | undefined> {
  const command = findCommand('nginx');
  if (command === undefined) return undefined;
  const folder = bench.newPath('nginx');
  await mkdir(folder);
  const port = await freePort();
  const settings = join(folder, 'nginx.conf');
  const place = { folder, port, blobs: join(bench.content.path, 'blobs'), tls };
  await writeFile(settings, configuration(place));
  return BenchProcess.start({
    name: 'nginx',
    command,
    args: ['-p', folder, '-e', join(folder, 'error.log'), '-c', settings],
    port,
    log: join(folder, 'output.log'),
    isTls: tls !== undefined,
  });
}

interface Place {
  readonly folder: string;
  readonly port: number;
  readonly blobs: string;
  readonly tls: TlsFiles | undefined;
}

function configuration({ folder, port, blobs, tls }: Place): string {
  const certificate = tls ? `ssl_certificate ${tls.cert}; ssl_certificate_key ${tls.key};` : '';
  const places = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  // Only root may choose whom the workers run as, and only root is asked to.
  const user = userInfo().uid === 0 ? 'user root;' : '';
  return `
    daemon off; pid ${folder}/pid; ${user}
    worker_processes auto;
    events { worker_connections 768; }
    http {
      sendfile on;
      tcp_nopush on;
      types_hash_max_size 2048;
      default_type application/octet-stream;
      access_log ${folder}/access.log;
      ${places.map((place) => `${place}_temp_path ${folder}/${place};`).join('\n')}
      server {
        listen 127.0.0.1:${port}${tls ? ' ssl' : ''};
        ${certificate}
        location ~ ^/v2/.+/blobs/sha256:(?<hex>[0-9a-f]+)$ { alias ${blobs}/$hex; }
      }
    }
  `;
}
