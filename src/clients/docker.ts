import { DOCKER_HUB } from '../config/registries.ts';
import { hostsFiles } from './hosts-toml.ts';
import { withoutMarked } from './marks.ts';
import type { MirrorPlace } from './mirror-place.ts';
import type { NodeFiles } from './node-files.ts';
import type { RefusedFile } from './placing.ts';
import { caFile, loginStep, type ClientFile, type Recipe } from './recipe.ts';
import { parseToml, tableAt } from './toml.ts';
import { TEXTS } from './texts.ts';

const DAEMON_JSON = '/etc/docker/daemon.json';
const DOCKER_HOSTS = '/etc/docker/certs.d';
const HUB_HOSTS = `${DOCKER_HOSTS}/${DOCKER_HUB}/hosts.toml`;

export const DOCKER_PLACES = [
  `${DOCKER_HOSTS}/*/ca.crt`,
  DAEMON_JSON,
  `${DOCKER_HOSTS}/*/hosts.toml`,
];
/** What Docker takes for insecure as long as nobody names what is. */
const LOOPBACK = ['127.0.0.0/8', '::1/128'];

/**
 * Docker Engine with either image store: `registry-mirrors` counts in both, for Docker Hub alone; a `hosts.toml`
 * in the containerd image store. Beside the two of them for Docker Hub the latter would win, so that there is one
 * only where Docker Hub itself must not be asked.
 */
export function describeDocker(mirror: MirrorPlace): Recipe {
  const { host, isHttp, fallback, registries } = mirror;
  const caPath = `${DOCKER_HOSTS}/${host}/ca.crt`;
  const hasHub = registries.includes(DOCKER_HUB);
  const byHosts = registries.filter((registry) => registry !== DOCKER_HUB || !fallback);
  const others = registries.filter((registry) => registry !== DOCKER_HUB);
  return {
    files: [
      ...caFile(mirror, caPath),
      ...(hasHub ? [daemonJson(mirror)] : []),
      ...hostsFiles(mirror, byHosts, { folder: DOCKER_HOSTS, caPath }),
    ],
    steps: [
      ...(hasHub ? [TEXTS.reloadDocker] : []),
      TEXTS.dockerAtEachPull,
      ...loginStep(mirror, TEXTS.dockerLogin({ host })),
    ],
    notes: [
      ...(mirror.isStrict ? [TEXTS.dockerAdvisory] : []),
      ...(others.length > 0 ? [TEXTS.dockerStores({ host })] : []),
      ...(fallback ? [TEXTS.fallbackAnyError] : [TEXTS.dockerNoFallback]),
      ...(isHttp && mirror.isLoopback ? [TEXTS.dockerLoopback] : []),
      ...(isHttp && !mirror.isLoopback ? [TEXTS.dockerByName({ host })] : []),
    ],
  };
}

/** A request without any sign of its registry means the default upstream, which need not be Docker Hub. */
function daemonJson(mirror: MirrorPlace): ClientFile {
  const { url, isHttp, isLoopback, defaultUpstream } = mirror;
  const settings = {
    'registry-mirrors': [defaultUpstream === DOCKER_HUB ? url : `${url}/${DOCKER_HUB}`],
    ...(isHttp && isLoopback && { 'insecure-registries': LOOPBACK }),
  };
  const content = `${JSON.stringify(settings, undefined, 2)}\n`;
  return { path: DAEMON_JSON, content, format: 'json' };
}

/** What another file, or the image store, keeps from being in force. */
export function shadowsOfDocker(
  node: NodeFiles,
  { fallback, registries }: MirrorPlace,
): RefusedFile[] {
  const features = tableAt(parseJson(node.read(DAEMON_JSON)), 'features');
  const store = features['containerd-snapshotter'];
  if (store === false) {
    const hosts = registries.filter((registry) => registry !== DOCKER_HUB || !fallback);
    return hosts.map((registry) => ({
      path: `${DOCKER_HOSTS}/${registry}/hosts.toml`,
      reason: TEXTS.olderStore,
    }));
  }
  const text = node.read(HUB_HOSTS);
  if (!fallback || text === undefined || withoutMarked(text)) return [];
  // With the registry itself these are several hosts.
  const hosts = Object.keys(tableAt(parseToml(text), 'host'));
  const path = HUB_HOSTS;
  return hosts.length > 0 ? [{ path: DAEMON_JSON, reason: TEXTS.hostsWin({ path }) }] : [];
}

function parseJson(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? '{}') as unknown;
  } catch {
    return {};
  }
}
