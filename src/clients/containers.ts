import { caFile, type Recipe } from './recipe.ts';
import type { MirrorPlace } from './mirror-place.ts';
import { pathAlias } from '../config/registries.ts';
import { TEXTS } from './texts.ts';

export const REGISTRIES_DROP_IN = '/etc/containers/registries.conf.d/50-entrepot.conf';
export const CONTAINERS_CERTS = '/etc/containers/certs.d';

/** CRI-O: as Podman, but it must be told. */
export function describeCrio(mirror: MirrorPlace): Recipe {
  return describe(mirror, TEXTS.reloadCrio);
}

/** Podman, Buildah and skopeo. */
export function describePodman(mirror: MirrorPlace): Recipe {
  return describe(mirror, TEXTS.podmanAtEachPull);
}

function describe(mirror: MirrorPlace, step: string): Recipe {
  const { host, registries, fallback } = mirror;
  return {
    files: [
      ...caFile(mirror, `${CONTAINERS_CERTS}/${host}/ca.crt`),
      {
        path: REGISTRIES_DROP_IN,
        content: registries.map((registry) => registryTable(registry, mirror)).join('\n'),
        format: 'toml',
      },
    ],
    steps: [step],
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
