import { claimPrinted } from './client-claims.ts';
import { formatImage } from './client.ts';
import { Containerd } from './containerd.ts';
import { Dockerd } from './dockerd.ts';
import { Podman } from './podman.ts';
import { suite } from './suite.ts';

const run = suite('clients as written', 'dockerd', 'containerd', 'ctr', 'podman', 'skopeo');

claimPrinted(run, {
  name: 'dockerd',
  kind: 'docker',
  pullsAll: false,
  start: async ({ netns }) => {
    const dockerd = await Dockerd.start(netns);
    return async (image) => dockerd.pull(image);
  },
});

claimPrinted(run, {
  name: 'containerd',
  kind: 'containerd',
  prepare: `mkdir -p /etc/containerd && printf '%s\\n' 'version = 2' '[plugins."io.containerd.grpc.v1.cri".registry]' 'config_path = "/etc/containerd/certs.d"' >/etc/containerd/config.toml`,
  pullsAll: true,
  start: async ({ netns }) => {
    const containerd = await Containerd.start(netns, undefined);
    return async (image) => containerd.pull(image);
  },
});

claimPrinted(run, {
  name: 'podman',
  kind: 'podman',
  pullsAll: true,
  start: async ({ netns }) => {
    const podman = await Podman.installed(netns);
    return async (image) => podman.pull(image);
  },
});

claimPrinted(run, {
  name: 'skopeo',
  kind: 'podman',
  pullsAll: true,
  start: async ({ netns }) => {
    return async (image) =>
      netns.run(
        'skopeo',
        '--insecure-policy',
        'copy',
        '--quiet',
        `docker://${formatImage(image)}`,
        `dir:${netns.directory}/${image.registry.replace(':', '_')}`,
      );
  },
});
