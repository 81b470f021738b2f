import { caFile, loginStep, type Recipe } from './recipe.ts';
import type { MirrorPlace } from './mirror-place.ts';
import type { NodeFiles } from './node-files.ts';
import { pathAlias } from '../config/registries.ts';
import type { RefusedFile } from './placing.ts';
import { parseToml, tableAt } from './toml.ts';
import { TEXTS } from './texts.ts';

const REGISTRIES = '/etc/containers/registries.conf';
const DROP_IN = `${REGISTRIES}.d/50-entrepot.conf`;
const CERTS = '/etc/containers/certs.d';

export const CONTAINERS_PLACES = [`${CERTS}/*/ca.crt`, DROP_IN];

/** CRI-O: as Podman, but it must be told. */
export function describeCrio(mirror: MirrorPlace): Recipe {
  const { host } = mirror;
  return describe(mirror, [TEXTS.reloadCrio, ...loginStep(mirror, TEXTS.crioLogin({ host }))]);
}

/** Podman, Buildah and skopeo. */
export function describePodman(mirror: MirrorPlace): Recipe {
  const { host } = mirror;
  return describe(mirror, [
    TEXTS.podmanAtEachPull,
    ...loginStep(mirror, TEXTS.podmanLogin({ host })),
  ]);
}

function describe(mirror: MirrorPlace, steps: readonly string[]): Recipe {
  const { host, registries, fallback } = mirror;
  return {
    files: [
      ...caFile(mirror, `${CERTS}/${host}/ca.crt`),
      {
        path: DROP_IN,
        content: registries.map((registry) => registryTable(registry, mirror)).join('\n'),
        format: 'toml',
      },
    ],
    steps,
    notes: [fallback ? TEXTS.fallbackUntilManifest : TEXTS.noFallback, TEXTS.rootless],
  };
}

/** Without the upstream the mirror stands in its place, instead of before it. */
function registryTable(registry: string, { host, isHttp, fallback }: MirrorPlace): string {
  const location = `${host}/${pathAlias(registry)}`;
  const place = [`location = "${location}"`, ...(isHttp ? ['insecure = true'] : [])];
  const lines = fallback
    ? [`location = "${registry}"`, '', '[[registry.mirror]]', ...place]
    : place;
  return ['[[registry]]', `prefix = "${registry}"`, ...lines, ''].join('\n');
}

/** Of two files that have a table of one registry the later one alone counts. */
export function objectionsOfContainers(
  node: NodeFiles,
  { registries }: MirrorPlace,
): RefusedFile[] {
  const paths = node.list(`${REGISTRIES}.d/*.conf`).filter((path) => path !== DROP_IN);
  return [REGISTRIES, ...paths].flatMap((path) => {
    const { registry: tables } = parseToml(node.read(path) ?? '') ?? {};
    const names = (Array.isArray(tables) ? (tables as unknown[]) : []).map((table) => {
      const { prefix, location } = tableAt(table);
      return prefix ?? location;
    });
    return registries
      .filter((registry) => names.includes(registry))
      .map((registry) => ({ path: DROP_IN, reason: TEXTS.otherTable({ registry, path }) }));
  });
}
