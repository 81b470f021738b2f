import { Dockerd } from './dockerd.ts';
import { claimPulls } from './pull-claims.ts';
import { suite } from './suite.ts';

const run = suite('dockerd', 'dockerd');

claimPulls(run, {
  name: 'dockerd',
  start: async ({ netns, mirror }) => Dockerd.start(netns, mirror.url),
});
