import { Containerd } from './containerd.ts';
import { claimPulls } from './pull-claims.ts';
import { claimRegistries } from './registry-claims.ts';
import { suite } from './suite.ts';
import type { World } from './world.ts';

const run = suite('containerd', 'containerd', 'ctr');

claimPulls(run, { name: 'containerd', start: startContainerd, headsDigests: true });
claimRegistries(run, { name: 'containerd', start: startContainerd });

async function startContainerd({ netns, mirror }: World): Promise<Containerd> {
  return Containerd.start(netns, mirror.url);
}
