import { Podman } from './podman.ts';
import { claimPulls } from './pull-claims.ts';
import { suite } from './suite.ts';

const run = suite('podman', 'podman');

claimPulls(run, 'podman', async ({ netns, mirror }) =>
  Podman.create(netns, mirror.url, { 'docker.io': 'docker.io' }),
);
