import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Authority, IDENTITY, ISSUER } from '../admission/signatures/authority.ts';
import { Containerd } from '../e2e/containerd.ts';
import { NATIVE_ARCHITECTURE } from '../e2e/image-layout.ts';
import { signKeyless } from '../e2e/keyless.ts';
import { suite } from '../e2e/suite.ts';
import { startWorld } from '../e2e/world.ts';
import { toolPath } from './tools.ts';

const run = suite('containerd 2 with the verifier');
const VERIFIER = join(import.meta.dirname, '..', '..', 'deploy', 'containerd', 'image-verifier');

run('a node that pulls from the registry itself is held to what the mirror says', async (t) => {
  const world = await startWorld(t);
  const { netns, mirror, images, origin } = world;
  const authority = await Authority.create();
  const [root, settings] = ['trusted_root.json', 'image-verifier.conf'].map((name) =>
    join(netns.directory, name),
  ) as [string, string];
  await writeFile(root, JSON.stringify(authority.root));
  await writeFile(settings, `mirror=${mirror.url}\n`);
  const signedBy = [{ identity: IDENTITY, issuer: ISSUER }];
  const rules = [{ images: ['docker.io/**'], mode: 'enforce', signedBy }];
  const admission = { trust: { sigstore: { trustedRoot: root } }, rules };
  await mirror.restart({ ...world.settings, admission }, 'SIGTERM');
  await signKeyless(world, authority);
  const plugin = 'io.containerd.image-verifier.v1.bindir';
  const containerd = await Containerd.start(netns, origin.url, {
    containerd: toolPath('containerd'),
    ctr: toolPath('ctr'),
    pullFlags: [],
    settings: `[plugins."${plugin}"]
bin_dir = "${VERIFIER}"
max_verifiers = 10
per_verifier_timeout = "30s"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
platform = "linux/${NATIVE_ARCHITECTURE}"
snapshotter = "native"
`,
    env: { ENTREPOT_VERIFIER_CONFIG: settings },
  });
  // By the transfer service, which asks the verifiers; from the registry, not the mirror.
  const pull = async (image: string): Promise<string> =>
    containerd.ctr(
      'images',
      'pull',
      '--snapshotter',
      'native',
      '--hosts-dir',
      containerd.hosts,
      image,
    );
  const { repository } = images.oci.byTag;
  await t.notThrowsAsync(pull(`docker.io/${repository}:1`));
  const refused = await t.throwsAsync(pull('docker.io/library/legacy:1'));
  t.regex(refused.message, /may not be pulled here: admission\.rules\[0\]/);
  await mirror.stop();
  const away = await t.throwsAsync(pull(`docker.io/${repository}:1`));
  t.regex(away.message, /does not answer/);
});
