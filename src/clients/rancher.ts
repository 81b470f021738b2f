import { caFile, type Recipe } from './recipe.ts';
import type { MirrorPlace } from './mirror-place.ts';
import { TEXTS } from './texts.ts';

export type RancherKind = 'k3s' | 'rke2';

export function rancherFolder(kind: RancherKind): string {
  return `/etc/rancher/${kind}`;
}

/** k3s and RKE2, which write the configuration of their containerd themselves at every start. */
export function describeRancher(kind: RancherKind, mirror: MirrorPlace): Recipe {
  const { url, host, registries, ca, fallback } = mirror;
  const folder = rancherFolder(kind);
  const caPath = `${folder}/entrepot-ca.crt`;
  const mirrors = registries.map((name) => `  "${name}":\n    endpoint: ["${url}"]\n`);
  const configs = `configs:\n  "${host}":\n    tls:\n      ca_file: "${caPath}"\n`;
  return {
    files: [
      ...caFile(mirror, caPath),
      {
        path: `${folder}/registries.yaml`,
        content: `mirrors:\n${mirrors.join('')}${ca === undefined ? '' : configs}`,
        format: 'yaml',
      },
      ...(fallback
        ? []
        : [
            {
              path: `${folder}/config.yaml.d/50-entrepot.yaml`,
              content: 'disable-default-registry-endpoint: true\n',
              format: 'yaml' as const,
            },
          ]),
    ],
    steps: [TEXTS.restartRancher({ kind })],
    notes: [
      fallback ? TEXTS.fallbackAnyError : TEXTS.noFallback,
      TEXTS.rancherConfigPath({ kind }),
    ],
  };
}
