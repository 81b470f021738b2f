import type { ExecutionContext } from 'ava';
import { digestOf, digestsIn, digestsOf } from './digests.ts';
import type { Mirror } from './mirror.ts';
import type { Netns } from './netns.ts';
import type { Release } from './release.ts';
import { Skopeo } from './skopeo.ts';

/** Signature and SBOM of a release are found by their tags and by the referrers API, every byte of them. */
export async function claimAttachments(
  t: ExecutionContext,
  { netns, mirror }: { readonly netns: Netns; readonly mirror: Mirror },
  { image, signature, sbom }: Release,
): Promise<void> {
  const skopeo = await Skopeo.create(netns, mirror.url);
  const references = [signature.tag, sbom.manifest.digest];
  for (const [at, { parts }] of [signature, sbom].entries()) {
    const name = { ...image.byTag, reference: references[at]! };
    const pulled = new Set(await digestsIn(await skopeo.pullAll(name)));
    t.deepEqual(
      digestsOf(parts).filter((digest) => !pulled.has(digest)),
      [],
    );
  }
  const path = '/v2/library/app';
  const [list, tagged, manifest, content] = await mirror.ask(
    `GET ${path}/referrers/${sbom.subject}`,
    `GET ${path}/manifests/${sbom.tag}`,
    `GET ${path}/manifests/${sbom.manifest.digest}`,
    `GET ${path}/blobs/${sbom.layer.digest}`,
  );
  for (const { body } of [list!, tagged!]) {
    const { manifests } = JSON.parse(body) as { readonly manifests: readonly object[] };
    t.deepEqual(manifests, [{ ...sbom.manifest, artifactType: sbom.layer.mediaType }]);
  }
  t.is(digestOf(Buffer.from(manifest!.body)), sbom.manifest.digest);
  t.is(content!.body, sbom.content);
}
