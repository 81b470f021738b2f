import { claimPulls } from './pull-claims.ts';
import { Skopeo } from './skopeo.ts';
import { suite } from './suite.ts';

const run = suite('skopeo');

claimPulls(run, 'skopeo', async ({ netns, mirror }) => Skopeo.create(netns, mirror.url));
