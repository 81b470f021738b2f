import { Dockerd } from './dockerd.ts';
import { claimPulls } from './pull-claims.ts';
import { suite } from './suite.ts';

const run = suite('dockerd', 'dockerd');

claimPulls(run, 'dockerd', async ({ netns, mirror }) => Dockerd.start(netns, mirror.url));
