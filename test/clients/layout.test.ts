import { NATIVE_ARCHITECTURE } from '../e2e/image-layout.ts';
import { claimPulls } from '../e2e/pull-claims.ts';
import { claimRegistries } from '../e2e/registry-claims.ts';
import { suite } from '../e2e/suite.ts';
import type { World } from '../e2e/world.ts';
import { LayoutClient, type Copy } from './layout-client.ts';
import { toolPath } from './tools.ts';

const PLATFORM = `linux/${NATIVE_ARCHITECTURE}`;

const COPIES: Readonly<Record<string, Copy>> = {
  crane: (image, layout) => {
    const flags = ['--platform', PLATFORM, '--format', 'oci'];
    return [toolPath('crane'), 'pull', ...flags, image, layout];
  },
  regctl: (image, layout) => {
    const [host] = image.split('/');
    const flags = ['--host', `reg=${host},tls=disabled`, '--platform', PLATFORM];
    return [toolPath('regctl'), 'image', 'copy', ...flags, image, `ocidir://${layout}:copied`];
  },
  oras: (image, layout) => {
    const flags = ['--from-plain-http', '--platform', PLATFORM, '--to-oci-layout'];
    return [toolPath('oras'), 'copy', ...flags, image, `${layout}:copied`];
  },
};

for (const [name, copy] of Object.entries(COPIES)) {
  const run = suite(name);
  const start = async (world: World): Promise<LayoutClient> => new LayoutClient(world, copy);
  claimPulls(run, { name, start });
  claimRegistries(run, { name, start });
}
