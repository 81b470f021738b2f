import { Containerd } from '../e2e/containerd.ts';
import { claimPulls } from '../e2e/pull-claims.ts';
import { claimRegistries } from '../e2e/registry-claims.ts';
import { suite } from '../e2e/suite.ts';
import type { World } from '../e2e/world.ts';
import { toolPath } from './tools.ts';

const run = suite('containerd 2');
// Fetched by ctr itself and not by its daemon: only that says where the files are.
const pullFlags = ['--local', '--skip-metadata'];
const programs = { containerd: toolPath('containerd'), ctr: toolPath('ctr'), pullFlags };

async function start({ netns, mirror }: World): Promise<Containerd> {
  return Containerd.start(netns, mirror.url, programs);
}

claimPulls(run, { name: 'containerd 2', start, headsDigests: true });
claimRegistries(run, { name: 'containerd 2', start });
