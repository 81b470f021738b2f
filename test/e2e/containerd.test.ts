import { Containerd } from './containerd.ts';
import { claimPulls } from './pull-claims.ts';
import { suite } from './suite.ts';

const run = suite('containerd', 'containerd', 'ctr');

claimPulls(run, 'containerd', async ({ netns, mirror }) => Containerd.start(netns, mirror.url));
