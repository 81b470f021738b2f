import { caFile, loginStep, type Recipe } from './recipe.ts';
import type { MirrorPlace } from './mirror-place.ts';
import type { NodeFiles } from './node-files.ts';
import type { RefusedFile } from './placing.ts';
import { parseYamlFile } from './yaml-lines.ts';
import { TEXTS } from './texts.ts';

export type RancherKind = 'k3s' | 'rke2';

function rancherFolder(kind: RancherKind): string {
  return `/etc/rancher/${kind}`;
}

export function placesOfRancher(kind: RancherKind): string[] {
  const folder = rancherFolder(kind);
  const names = ['entrepot-ca.crt', 'registries.yaml', 'config.yaml.d/50-entrepot.yaml'];
  return names.map((name) => `${folder}/${name}`);
}

/** Where it is told to read another file. */
export function objectionsOfRancher(kind: RancherKind, node: NodeFiles): RefusedFile[] {
  const folder = rancherFolder(kind);
  const path = `${folder}/registries.yaml`;
  const configs = [`${folder}/config.yaml`, ...node.list(`${folder}/config.yaml.d/*.yaml`)];
  return configs.flatMap((config) => {
    const other = parseYamlFile(node.read(config) ?? '')?.['private-registry'];
    if (typeof other !== 'string' || other === path) return [];
    return [{ path, reason: TEXTS.otherFile({ config, other }) }];
  });
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
    steps: [
      TEXTS.restartRancher({ kind }),
      ...loginStep(
        mirror,
        ca === undefined
          ? TEXTS.rancherLogin({ host, folder })
          : TEXTS.rancherLoginBeside({ host, folder }),
      ),
    ],
    notes: [
      fallback ? TEXTS.fallbackAnyError : TEXTS.noFallback,
      TEXTS.rancherConfigPath({ kind }),
    ],
  };
}
