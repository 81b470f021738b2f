import { dirname } from 'node:path';
import { hostsFiles } from './hosts-toml.ts';
import { caFile, loginStep, type Recipe } from './recipe.ts';
import type { MirrorPlace } from './mirror-place.ts';
import type { NodeFiles } from './node-files.ts';
import type { RefusedFile } from './placing.ts';
import { parseToml, tableAt } from './toml.ts';
import { TEXTS } from './texts.ts';

const CONFIG = '/etc/containerd/config.toml';
const HOSTS = '/etc/containerd/certs.d';
const CA_PATH = '/etc/containerd/entrepot-ca.crt';
/** Where containerd 2.x and 1.x look for it. */
const REGISTRY_TABLES = ['io.containerd.cri.v1.images', 'io.containerd.grpc.v1.cri'];
/** What stood in these before there was `hosts.toml`. */
const OLD_KEYS = ['mirrors', 'configs', 'auths'];

/** containerd 1.7 and 2.x; on a node in the first folder that its `config_path` names. */
export function describeContainerd(mirror: MirrorPlace, node?: NodeFiles): Recipe {
  const folder = (node && hostsFolders(node)[0]) ?? HOSTS;
  return {
    files: [
      ...caFile(mirror, CA_PATH),
      ...hostsFiles(mirror, mirror.registries, { folder, caPath: CA_PATH }),
    ],
    steps: [
      TEXTS.readAtEachPull,
      TEXTS.configPath({ folder }),
      ...loginStep(mirror, TEXTS.containerdLogin({ folder })),
    ],
    notes: [mirror.fallback ? TEXTS.fallbackAnyError : TEXTS.noFallback],
  };
}

export function placesOfContainerd(node: NodeFiles): string[] {
  const folders = new Set([HOSTS, ...hostsFolders(node)]);
  return [CA_PATH, ...[...folders].map((folder) => `${folder}/*/hosts.toml`)];
}

/** Why containerd would not read a `hosts.toml`. */
export function objectionsOfContainerd(node: NodeFiles): RefusedFile[] {
  const tables = readTables(node);
  if (!tables) return [{ path: CONFIG, reason: TEXTS.notToml }];
  const found = OLD_KEYS.find((key) =>
    tables.some(({ registry }) => Object.keys(tableAt(registry, key)).length > 0),
  );
  if (found !== undefined)
    return [{ path: CONFIG, reason: TEXTS.configPathConflict({ key: found }) }];
  if (hostsFolders(node).length > 0) return [];
  return [{ path: CONFIG, reason: TEXTS.noConfigPath({ folder: HOSTS }) }];
}

/** Of `config_path`, the first one first; none where it is not set. */
function hostsFolders(node: NodeFiles): string[] {
  const tables = readTables(node) ?? [];
  const set = tables.flatMap(({ registry }) => registry['config_path'] ?? []).at(-1);
  if (typeof set === 'string') return set.split(':').filter((folder) => folder.startsWith('/'));
  return tables.some(({ version }) => Number(version) >= 3) ? [HOSTS] : [];
}

interface RegistryTable {
  readonly version: unknown;
  readonly registry: Readonly<Record<string, unknown>>;
}

/** Of the configuration and what it imports; `undefined` where one of them cannot be read. */
function readTables(node: NodeFiles): RegistryTable[] | undefined {
  const main = parseToml(node.read(CONFIG) ?? '');
  const imports = Array.isArray(main?.['imports']) ? (main['imports'] as unknown[]) : [];
  const paths = imports.flatMap((path) => {
    if (typeof path !== 'string') return [];
    return node.list(path.startsWith('/') ? path : `${dirname(CONFIG)}/${path}`);
  });
  const files = [main, ...paths.map((path) => parseToml(node.read(path) ?? ''))];
  const tables: RegistryTable[] = [];
  for (const file of files) {
    if (!file) return undefined;
    for (const name of REGISTRY_TABLES) {
      const registry = tableAt(file, 'plugins', name, 'registry');
      tables.push({ version: file['version'], registry });
    }
  }
  return tables;
}
