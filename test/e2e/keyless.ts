import { join } from 'node:path';
import type { Authority } from '../admission/signatures/authority.ts';
import { LayoutFiles } from './layout-files.ts';
import { publishReferrer } from './referrer.ts';
import type { World } from './world.ts';

const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

/** docker.io/library/app:1, as a pipeline signs it. */
export async function signKeyless(world: World, authority: Authority): Promise<void> {
  const { netns, images, origin } = world;
  const { repository, reference } = images.oci.byDigest;
  const layout = new LayoutFiles(join(netns.directory, 'signature'));
  const image = `docker://${new URL(origin.url).host}/${repository}@${reference}`;
  const flags = ['--quiet', '--all', '--preserve-digests', '--src-tls-verify=false'];
  await netns.run('skopeo', 'copy', ...flags, image, `oci:${layout.path}:base`);
  const { length: size } = await layout.read(reference);
  const [, sha256 = ''] = reference.split(':');
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: 'app', digest: { sha256 } }],
    predicateType: 'https://sigstore.dev/cosign/sign/v1',
    predicate: {},
  };
  const signed = await authority.sign({ payload: Buffer.from(JSON.stringify(statement)) });
  const subject = { mediaType: INDEX, digest: reference, size };
  await publishReferrer(world, layout, subject, { type: BUNDLE, content: JSON.stringify(signed) });
}
