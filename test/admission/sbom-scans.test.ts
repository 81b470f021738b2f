/** What a scanner finds in signed SBOMs, in place of the image. */
import test, { type ExecutionContext } from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepository } from '../../src/oci/reference.ts';
import { unitOf } from '../../src/store/catalog/catalog.ts';
import { HOUR, MINUTE } from '../helpers/clock.ts';
import {
  buildImage,
  descriptorOf,
  fallbackIndex,
  fallbackTag,
  store,
  storeJson,
  type Stored,
} from '../helpers/image.ts';
import { idle, REPOSITORY, UPSTREAM } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';
import { attachDocument } from './documents.ts';
import { messageOf } from './guarded.ts';
import { pullAs, startScanned, type ScannedOptions, type ScannedScene } from './scanned.ts';
import { attachBundle, BUNDLE, KeyHolder } from './signing.ts';

const CYCLONEDX = 'application/vnd.cyclonedx+json';
const SPDX = 'application/spdx+json';
const PREDICATES: Readonly<Record<string, string>> = {
  [CYCLONEDX]: 'https://cyclonedx.org/bom',
  [SPDX]: 'https://spdx.dev/Document',
};
const CRITICAL = [{ id: 'CVE-2030-1', fix: '2' }];
const BASE = `/v2/${UPSTREAM}/${REPOSITORY}`;
const RULE = { attestedBy: [{ key: 'release' }] };

/** A mirror whose scanner reads SBOMs. */
async function startReading(
  t: ExecutionContext,
  options: ScannedOptions = {},
): Promise<ScannedScene> {
  const scene = await startScanned(t, { rule: RULE, ...options });
  scene.scanner.reads = [CYCLONEDX, SPDX];
  return scene;
}

function attest(
  { registry, image, signer }: ScannedScene,
  { by = signer, type = CYCLONEDX, of = image.manifest } = {},
): Stored {
  const bundle = by.bundle(of, PREDICATES[type], { bomFormat: 'CycloneDX', components: [] });
  return attachBundle(registry, { repository: REPOSITORY, image: of, bundle });
}

/** A document that is attached, signed by somebody where it is told. */
function document(
  { registry, image }: ScannedScene,
  by?: KeyHolder,
  subject = image.manifest,
): Stored {
  const extra = { artifactType: CYCLONEDX };
  const bytes = JSON.stringify({ bomFormat: 'CycloneDX', of: subject.digest });
  const { manifest } = attachDocument(registry, { subject, layerType: CYCLONEDX, bytes, extra });
  by?.attachByTag(registry, REPOSITORY, manifest);
  return manifest;
}

function layerOf(carrier: Stored | undefined): string {
  const { layers } = JSON.parse(String(carrier?.bytes)) as { layers: [{ digest: string }] };
  return layers[0].digest;
}

const scanned = ({ scanner }: ScannedScene) =>
  scanner.scans.map(({ digest, type }) => [digest, type] as const);

for (const type of [CYCLONEDX, SPDX]) {
  test(`a signed attestation of ${type} is scanned in place of the image: the pass opens it, and no layer`, async (t) => {
    const scene = await startReading(t);
    const { scanner, image, manifest, registry } = scene;
    const carrier = attest(scene, { type });
    scanner.findings.set(carrier.digest, CRITICAL);
    let pulled: number[] = [];
    scanner.onReport = async (scan) => {
      const paths = [
        `manifests/${carrier.digest}`,
        `blobs/${layerOf(carrier)}`,
        `manifests/${image.manifest.digest}`,
        `blobs/${image.layer(0).digest}`,
      ];
      const answers = paths.map(async (path) => pullAs(scene, scan, `${BASE}/${path}`));
      pulled = (await Promise.all(answers)).map(({ status }) => status);
    };
    t.regex(messageOf(await manifest('latest')), /1 vulnerability above medium: CVE-2030-1/);
    t.deepEqual(pulled, [200, 200, 403, 403]);
    t.deepEqual(scanned(scene), [[carrier.digest, type]]);
    t.false(
      registry.requests.some((request) => request.toString().includes(image.layer(0).digest)),
    );
  });
}

test('another database: images are judged anew from their SBOMs, no layer is held or fetched, and the upstream is asked for nothing', async (t) => {
  const scene = await startReading(t);
  const { scanner, image, manifest, registry, mirror, clock } = scene;
  const second = buildImage({ seed: 'second', layers: [10] });
  registry.addImage(REPOSITORY, 'second', second);
  const carriers = [attest(scene), attest(scene, { of: second.manifest })];
  const digests = carriers.map(({ digest }) => digest);
  for (const each of [image, second]) t.is((await manifest(each.manifest.digest)).status, 200);
  await idle(mirror);
  registry.clear();
  scanner.scans.length = 0;
  const statuses: number[] = [];
  scanner.onReport = async (scan) => {
    const carrier = carriers.find(({ digest }) => digest === scan.digest);
    for (const path of [`manifests/${scan.digest}`, `blobs/${layerOf(carrier)}`]) {
      statuses.push((await pullAs(scene, scan, `${BASE}/${path}`)).status);
    }
  };
  for (const each of digests) scanner.findings.set(each, CRITICAL);
  scanner.databaseAt = '2030-01-01T06:00:00Z';
  clock.advance(MINUTE);
  t.is((await manifest(image.manifest.digest)).status, 200);
  await until('both are judged anew', () => statuses.length === 4);
  t.deepEqual(
    Object.fromEntries(scanned(scene)),
    Object.fromEntries(digests.map((each) => [each, CYCLONEDX])),
  );
  t.is(scanner.scans.length, 2);
  t.deepEqual(statuses, [200, 200, 200, 200]);
  t.deepEqual(registry.conversation(), []);
  const { catalog } = mirror.server;
  for (const { digest } of [...image.blobs, ...second.blobs]) {
    t.is(await catalog.findBlob(parseDigest(digest)), undefined);
  }
  for (const each of [image, second]) {
    await until('it is refused', async () => (await manifest(each.manifest.digest)).status === 403);
  }
  t.is(scanner.scans.length, 2);
});

test('an image that was evicted, its SBOM with it, is judged by the SBOM again, and no layer is fetched', async (t) => {
  const scene = await startReading(t);
  const { scanner, image, manifest, blob, registry, mirror, clock } = scene;
  const carrier = attest(scene);
  registry.name(carrier, 'carrier');
  registry.name(layerOf(carrier), 'sbom');
  t.is((await manifest('latest')).status, 200);
  for (const each of image.blobs) t.is((await blob(each)).status, 200);
  await mirror.idle();
  const target = { upstream: UPSTREAM, repository: parseRepository(REPOSITORY) };
  const { catalog } = mirror.server;
  await catalog.evict(unitOf(target, parseDigest(image.manifest.digest)));
  t.is(await catalog.findBlob(parseDigest(image.layer(0).digest)), undefined);
  registry.clear();
  scanner.findings.set(carrier.digest, CRITICAL);
  scanner.databaseAt = '2030-01-01T06:00:00Z';
  clock.advance(25 * HOUR);
  t.is((await manifest(image.manifest.digest)).status, 403);
  t.deepEqual(scanned(scene).at(-1), [carrier.digest, CYCLONEDX]);
  const fetched = registry.conversation(({ method }) => method === 'GET');
  t.true(fetched.length > 0);
  for (const { digest } of image.blobs) t.false(fetched.join(' ').includes(digest));
  t.false(
    fetched.some((line) => line.includes('<app.')),
    fetched.join(' '),
  );
});

test('an SBOM that is attached as a document counts where somebody whom the rule names has signed it', async (t) => {
  const scene = await startReading(t);
  const sbom = document(scene, scene.signer);
  scene.scanner.findings.set(sbom.digest, CRITICAL);
  t.regex(messageOf(await scene.manifest('latest')), /CVE-2030-1/);
  t.deepEqual(scanned(scene), [[sbom.digest, CYCLONEDX]]);
});

const ELSEWHERE = 'a signed document about another image that the list of this one names';

type Attach = (scene: ScannedScene) => unknown;

const COUNTING_FOR_NOTHING: Readonly<Record<string, Attach>> = {
  'an attestation by a stranger': (scene) => attest(scene, { by: new KeyHolder() }),
  'a document that nobody has signed': (scene) => document(scene),
  'a document by a stranger': (scene) => document(scene, new KeyHolder()),
  'a signed attestation beside a layer that nobody has signed': (scene) => {
    const { registry, signer, image } = scene;
    const bundle = signer.bundle(image.manifest, 'https://cyclonedx.org/bom', {});
    const layers = [store('{"components":[]}', CYCLONEDX), store(bundle, BUNDLE)];
    const config = store('{}', 'application/vnd.oci.empty.v1+json');
    for (const each of [...layers, config]) registry.addBlob(REPOSITORY, each);
    const type = 'application/vnd.oci.image.manifest.v1+json';
    const carrier = storeJson(
      {
        schemaVersion: 2,
        mediaType: type,
        artifactType: BUNDLE,
        config: descriptorOf(config),
        layers: layers.map(descriptorOf),
        subject: descriptorOf(image.manifest),
      },
      type,
    );
    registry.addManifest(REPOSITORY, carrier);
  },
  [ELSEWHERE]: (scene) => {
    const { registry, image, signer } = scene;
    const other = buildImage({ seed: 'other', layers: [10] });
    registry.addImage(REPOSITORY, 'other', other);
    const sbom = document(scene, signer, other.manifest);
    const tags = [fallbackTag(image.manifest.digest)];
    registry.addManifest(REPOSITORY, fallbackIndex([sbom]), { tags });
  },
  'a signed attestation that is no SBOM': ({ registry, image, signer }) => {
    const bundle = signer.bundle(image.manifest, 'https://cyclonedx.org/vex', {});
    attachBundle(registry, { repository: REPOSITORY, image: image.manifest, bundle });
  },
};

for (const [what, attach] of Object.entries(COUNTING_FOR_NOTHING)) {
  test(`${what} is handed to no scanner: the image is scanned`, async (t) => {
    // Where the registry has no list of its own, whoever may push writes it.
    const registry = what === ELSEWHERE ? { referrers: 'none' as const } : {};
    const scene = await startReading(t, { registry });
    attach(scene);
    const { scanner, image } = scene;
    scanner.findings.set(image.manifest.digest, CRITICAL);
    t.regex(messageOf(await scene.manifest('latest')), /CVE-2030-1/);
    t.deepEqual(
      scanner.scans.map(({ digest }) => digest),
      [image.manifest.digest],
    );
  });
}

test('several signed SBOMs count together, and what is found in both once', async (t) => {
  const scene = await startReading(t);
  const [one, other] = [attest(scene), attest(scene, { type: SPDX })];
  scene.scanner.findings.set(one.digest, CRITICAL);
  scene.scanner.findings.set(other.digest, [...CRITICAL, { id: 'CVE-2030-2' }]);
  t.regex(messageOf(await scene.manifest('latest')), /2 vulnerabilities above medium/);
  t.is(scene.scanner.scans.length, 2);
});

test('where the scanner has nothing to say of an SBOM, it scans the image', async (t) => {
  const scene = await startReading(t);
  const { scanner, image, manifest } = scene;
  const carrier = attest(scene);
  scanner.onReport = ({ digest }, response) => {
    if (digest === carrier.digest) response.writeHead(404).end('{}');
  };
  scanner.findings.set(image.manifest.digest, CRITICAL);
  t.regex(messageOf(await manifest('latest')), /CVE-2030-1/);
  t.deepEqual(
    new Set(scanner.scans.map(({ digest }) => digest)),
    new Set([carrier.digest, image.manifest.digest]),
  );
});

test('a scanner that reads images alone is asked about the image, and the upstream about nothing more', async (t) => {
  const scene = await startScanned(t, { rule: RULE });
  attest(scene);
  t.is((await scene.manifest('latest')).status, 200);
  t.is(scene.scanner.scans[0]?.digest, scene.image.manifest.digest);
  t.deepEqual(scene.registry.conversation(), [
    `HEAD /v2/${REPOSITORY}/manifests/latest`,
    `GET /v2/${REPOSITORY}/manifests/<app>`,
  ]);
});

test('an image that is scanned by itself is served by that, whatever the upstream has of SBOMs, and is not asked again', async (t) => {
  const scene = await startReading(t);
  const { manifest, registry, scanner, image } = scene;
  t.is((await manifest('latest')).status, 200);
  registry.clear();
  t.is((await manifest(image.manifest.digest)).status, 200);
  t.is(scanner.scans.length, 1);
  t.deepEqual(registry.conversation(), []);
});
