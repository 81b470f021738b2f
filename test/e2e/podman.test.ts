import { OTHER_REGISTRY } from './images.ts';
import { Podman } from './podman.ts';
import { claimPulls } from './pull-claims.ts';
import { claimRegistries } from './registry-claims.ts';
import { suite } from './suite.ts';
import type { World } from './world.ts';

const run = suite('podman', 'podman');

claimPulls(run, { name: 'podman', start: startPodman });

async function startPodman({ netns, mirror }: World): Promise<Podman> {
  const paths = { 'docker.io': 'docker.io', [OTHER_REGISTRY]: OTHER_REGISTRY.replace(':', '_') };
  return Podman.create(netns, mirror.url, paths);
}

claimRegistries(run, { name: 'podman', start: startPodman });
