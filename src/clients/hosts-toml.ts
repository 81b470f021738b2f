import { join } from 'node:path';
import type { MirrorPlace } from './mirror-place.ts';
import type { ClientFile } from './recipe.ts';

/**
 * One `hosts.toml` for each registry, as containerd reads them, and Docker with the containerd image store.
 * `capabilities` leaves out `referrers`: containerd before 2.2 refuses the whole file for it. There is none for
 * `_default`: this mirror knows the configured upstreams, and would be asked in vain for all others.
 */
export function hostsFiles(
  { url, ca, fallback }: MirrorPlace,
  registries: readonly string[],
  { folder, caPath }: { readonly folder: string; readonly caPath: string },
): ClientFile[] {
  const lines = [
    fallback ? `[host."${url}"]` : `server = "${url}"`,
    'capabilities = ["pull", "resolve"]',
    ...(ca === undefined ? [] : [`ca = "${caPath}"`]),
  ];
  const content = lines.map((line, at) => `${fallback && at > 0 ? '  ' : ''}${line}\n`).join('');
  return registries.map((registry) => ({
    path: join(folder, registry, 'hosts.toml'),
    content,
    format: 'toml-first',
  }));
}
