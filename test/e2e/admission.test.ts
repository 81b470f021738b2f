import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Authority, IDENTITY, ISSUER } from '../admission/signatures/authority.ts';
import { digestOf } from './digests.ts';
import { FarSite } from './far-site.ts';
import { signKeyless } from './keyless.ts';
import { suite } from './suite.ts';
import { startWorld } from './world.ts';

const run = suite('admission');
const ROOT = 'trusted_root.json';

run(
  'without a route: what was signed without a key is verified by a trust root that came in the bundle, all else is refused',
  async (t) => {
    const near = await startWorld(t);
    const authority = await Authority.create();
    await signKeyless(near, authority);
    const root = join(near.netns.directory, ROOT);
    await writeFile(root, JSON.stringify(authority.root));
    const far = await FarSite.start(t, near, {
      may: ['images', 'trust'],
      // The first trust root is put there by hand.
      prepare: async (directory) => {
        await mkdir(placeOfRoot(directory, '..'), { recursive: true, mode: 0o700 });
        const other = await Authority.create();
        await writeFile(placeOfRoot(directory), JSON.stringify(other.root));
      },
      settings: (directory) => ({
        admission: {
          trust: { sigstore: { trustedRoot: placeOfRoot(directory) } },
          rules: [
            {
              images: ['docker.io/**'],
              mode: 'enforce',
              signedBy: [{ identity: IDENTITY, issuer: ISSUER }],
            },
          ],
        },
      }),
    });
    const { images } = near;
    const names = ['library/app:1', 'library/legacy:1'].map((each) => `docker.io/${each}`);
    const bundle = await far.create('images.tar', ...names, '--with', root);
    const { code, output } = await far.import(bundle);
    t.is(code, 1, 'one of them nobody has signed');
    t.regex(output, /not taken docker\.io\/library\/legacy:1: .* this site is offline/);

    const paths = images.oci.parts.map((part) => `GET /v2/library/app/${part}`);
    const served = await far.mirror.ask('GET /v2/library/app/manifests/1', ...paths);
    t.deepEqual(new Set(served.map(({ status }) => status)), new Set([200]));
    t.is(digestOf(Buffer.from(served[0]!.body)), images.oci.byDigest.reference);
    const legacy = images.docker.parts.map((part) => `GET /v2/library/legacy/${part}`);
    const refused = await far.mirror.ask('GET /v2/library/legacy/manifests/1', ...legacy);
    t.false(refused.some(({ status }) => status === 200));
    t.deepEqual(new Set(refused.slice(1).map(({ status }) => status)), new Set([403]));

    const { code: ready, output: status } = await far.mirror.command('sync', 'status');
    t.is(ready, 0, status);
    t.false(status.includes('legacy'));
    const { opened, accepted, datagrams, unroutable } = await far.netns.dials();
    t.deepEqual([opened - accepted, datagrams, unroutable], [0, 0, 0], 'nobody looked for a link');
  },
);

function placeOfRoot(directory: string, ...more: readonly string[]): string {
  return join(directory, 'store', 'bundles', ROOT, ...more);
}
