import { claimPrinted } from '../e2e/client-claims.ts';
import { Containerd } from '../e2e/containerd.ts';
import { suite } from '../e2e/suite.ts';
import { toolPath } from './tools.ts';

const run = suite('clients as written');
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
