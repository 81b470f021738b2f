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
    'capabilities = ["pull", "resolve"]',
    ...(ca === undefined ? [] : [`ca = "${caPath}"`]),
  ];
  const content = fallback
    ? [`[host."${url}"]`, ...lines.map((line) => `  ${line}`), '']
    : [
        `server = "${url}"`,
        ...lines,
        '# containerd 1.x reads no file without this table.',
        '[host]',
        '',
      ];
  return registries.map((registry) => ({
    path: join(folder, registry, 'hosts.toml'),
    content: content.join('\n'),
    format: 'toml-first',
  }));
}
