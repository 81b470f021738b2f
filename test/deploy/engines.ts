import { Containerd } from '../e2e/containerd.ts';
import { Dockerd } from '../e2e/dockerd.ts';
import type { Reader } from './reader.ts';

const PODMAN = '[engine]\nevents_logger = "none"\ncgroup_manager = "cgroupfs"\n';
/** Of its own, with a file system that a namespace can have. */
const STORAGE =
  '[storage]\ndriver = "vfs"\ngraphroot = "/run/podman/images"\nrunroot = "/run/podman/run"\n';
const POLICY = '{ "default": [{ "type": "insecureAcceptAnything" }] }';
/** A mirror that nobody asks: the page names images by another one. */
const NOWHERE = 'http://127.0.0.1:9';

/** Docker, Podman and containerd on the machine of a reader, who finds them as on any machine. */
export async function startEngines(reader: Reader): Promise<void> {
  const { netns } = reader;
  const files = { 'containers.conf': PODMAN, 'storage.conf': STORAGE, 'policy.json': POLICY };
  await netns.run('mkdir', '-p', '/etc/containers');
  for (const [name, text] of Object.entries(files)) {
    await netns.run('sh', '-ec', 'printf %s "$1" >"$0"', `/etc/containers/${name}`, text);
  }
  const dockerd = await Dockerd.start(netns, NOWHERE);
  const containerd = await Containerd.start(netns, NOWHERE);
  const places = {
    DOCKER_HOST: `unix://${dockerd.socket}`,
    CONTAINERD_ADDRESS: containerd.socket,
    CONTAINERD_SNAPSHOTTER: 'native',
  };
  const words = Object.entries(places).map(([name, place]) => `${name}='${place}'`);
  await reader.type(`export ${words.join(' ')}`);
}
