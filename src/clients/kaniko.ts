import { DOCKER_HUB, pathAlias } from '../config/registries.ts';
import { loginStep, type ClientFile, type Recipe } from './recipe.ts';
import type { MirrorPlace } from './mirror-place.ts';
import { TEXTS } from './texts.ts';

const CA_PATH = '/kaniko/entrepot-ca.crt';

/** Arguments of the executor: it reads no file. It knows Docker Hub as `index.docker.io`. */
export function describeKaniko(mirror: MirrorPlace): Recipe {
  const { host, isHttp, ca, registries, fallback } = mirror;
  const map = registries.map(
    (name) => `${name === DOCKER_HUB ? 'index.docker.io' : name}=${host}/${pathAlias(name)}`,
  );
  const lines = [
    `--registry-map=${map.join(';')}`,
    ...(fallback ? [] : ['--skip-default-registry-fallback']),
    ...(isHttp ? ['--insecure-pull'] : []),
    ...(ca === undefined ? [] : [`--registry-certificate=${host}=${CA_PATH}`]),
  ];
  const authority: ClientFile[] =
    ca === undefined ? [] : [{ path: 'entrepot-ca.crt', content: ca, format: 'none' }];
  const flags = lines.map((line) => `${line}\n`).join('');
  return {
    files: [...authority, { path: 'kaniko-flags.txt', content: flags, format: 'none' }],
    steps: [
      TEXTS.kanikoFlags,
      ...(ca === undefined ? [] : [TEXTS.kanikoCa({ path: CA_PATH })]),
      ...loginStep(mirror, TEXTS.kanikoLogin({ host })),
    ],
    notes: [fallback ? TEXTS.fallbackUntilManifest : TEXTS.noFallback],
  };
}
