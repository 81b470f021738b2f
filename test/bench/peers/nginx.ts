import { mkdir, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { BenchProcess, freePort } from '../bench-process.ts';
import { findCommand } from '../commands.ts';
import type { Workbench } from '../workbench.ts';

/** nginx on the same files, with the settings of Debian's nginx.conf; `undefined` if not installed. */
export async function startNginx(bench: Workbench): Promise<BenchProcess | undefined> {
  const command = findCommand('nginx');
  if (command === undefined) return undefined;
  const folder = bench.newPath('nginx');
  await mkdir(folder);
  const port = await freePort();
  const settings = join(folder, 'nginx.conf');
  await writeFile(settings, configuration(folder, port, join(bench.content.path, 'blobs')));
  return BenchProcess.start({
    name: 'nginx',
    command,
    args: ['-p', folder, '-e', join(folder, 'error.log'), '-c', settings],
    port,
    log: join(folder, 'output.log'),
  });
}

function configuration(folder: string, port: number, blobs: string): string {
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
        listen 127.0.0.1:${port};
        location ~ ^/v2/.+/blobs/sha256:(?<hex>[0-9a-f]+)$ { alias ${blobs}/$hex; }
      }
    }
  `;
}
