import { DOCKER_HUB } from '../config/registries.ts';
import { hostsFiles } from './hosts-toml.ts';
import { caFile, type ClientFile, type Recipe } from './recipe.ts';
import type { MirrorPlace } from './mirror-place.ts';
import { TEXTS } from './texts.ts';

export const DAEMON_JSON = '/etc/docker/daemon.json';
export const DOCKER_HOSTS = '/etc/docker/certs.d';
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
    steps: [...(hasHub ? [TEXTS.reloadDocker] : []), TEXTS.dockerAtEachPull],
    notes: [
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
