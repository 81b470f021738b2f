import { claimPrinted } from '../e2e/client-claims.ts';
import { Buildkit } from '../e2e/buildkit.ts';
import { Containerd } from '../e2e/containerd.ts';
import { suite } from '../e2e/suite.ts';
import { toolPath } from './tools.ts';

const run = suite('clients as written', 'runc');
const pullFlags = ['--local', '--skip-metadata'];
const programs = { containerd: toolPath('containerd'), ctr: toolPath('ctr'), pullFlags };

claimPrinted(run, {
  name: 'containerd 2',
  kind: 'containerd',
  prepare: 'mkdir -p /etc/containerd && echo version = 3 >/etc/containerd/config.toml',
  pullsAll: true,
  start: async ({ netns }) => {
    const containerd = await Containerd.start(netns, undefined, programs);
    return async (image) => containerd.pull(image);
  },
});

claimPrinted(run, {
  name: 'BuildKit',
  kind: 'buildkit',
  pullsAll: true,
  start: async ({ netns }) => {
    const built = { buildkitd: toolPath('buildkitd'), buildctl: toolPath('buildctl') };
    const buildkit = await Buildkit.start(netns, built);
    return async (image) => buildkit.build(image);
  },
});
