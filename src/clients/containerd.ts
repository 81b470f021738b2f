import { hostsFiles } from './hosts-toml.ts';
import { caFile, type Recipe } from './recipe.ts';
import type { MirrorPlace } from './mirror-place.ts';
import { TEXTS } from './texts.ts';

export const CONTAINERD_HOSTS = '/etc/containerd/certs.d';
const CA_PATH = '/etc/containerd/entrepot-ca.crt';

/** containerd 1.7 and 2.x; `folder` is the first one that its `config_path` names. */
export function describeContainerd(mirror: MirrorPlace, folder = CONTAINERD_HOSTS): Recipe {
  return {
    files: [
      ...caFile(mirror, CA_PATH),
      ...hostsFiles(mirror, mirror.registries, { folder, caPath: CA_PATH }),
    ],
    steps: [TEXTS.readAtEachPull, TEXTS.configPath({ folder })],
    notes: [mirror.fallback ? TEXTS.fallbackAnyError : TEXTS.noFallback],
  };
}
