import { caFile, loginStep, type Recipe } from './recipe.ts';
import type { MirrorPlace } from './mirror-place.ts';
import { TEXTS } from './texts.ts';

const BUILDKITD_TOML = '/etc/buildkit/buildkitd.toml';
const CA_PATH = '/etc/buildkit/entrepot-ca.crt';

export const BUILDKIT_PLACES = [CA_PATH, BUILDKITD_TOML];

/** What concerns the connection stands under the mirror's own name, and not under the registry's. */
export function describeBuildkit(mirror: MirrorPlace): Recipe {
  const { host, isHttp, isLoopback, ca, registries, fallback } = mirror;
  const own = [
    // Which is what BuildKit takes loopback for, unless it is told.
    ...(isHttp || isLoopback ? [`http = ${isHttp}`] : []),
    ...(ca === undefined ? [] : [`ca = ["${CA_PATH}"]`]),
  ];
  const tables = [
    ...registries.map((registry) => [`[registry."${registry}"]`, `mirrors = ["${host}"]`]),
    ...(own.length > 0 ? [[`[registry."${host}"]`, ...own]] : []),
  ];
  return {
    files: [
      ...caFile(mirror, CA_PATH),
      {
        path: BUILDKITD_TOML,
        content: tables
          .map(([head, ...rest]) => [head, ...rest.map((line) => `  ${line}`), ''].join('\n'))
          .join('\n'),
        format: 'toml',
      },
    ],
    steps: [TEXTS.restartBuildkit, ...loginStep(mirror, TEXTS.buildkitLogin({ host }))],
    notes: [
      ...(mirror.isStrict ? [TEXTS.buildkitByName({ host })] : []),
      fallback ? TEXTS.fallbackAnyError : TEXTS.buildkitFallsBack,
    ],
  };
}
