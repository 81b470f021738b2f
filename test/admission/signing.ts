import { generateKeyPairSync, sign } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
import { descriptorOf, store, storeJson, type Stored } from '../helpers/image.ts';

export const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const PAYLOAD_TYPE = 'application/vnd.in-toto+json';

/** What states that an image is somebody's. */
export function statementOf({ digest }: Stored, predicateType?: string, predicate = {}): Buffer {
  const [, sha256 = ''] = digest.split(':');
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: 'app', digest: { sha256 } }],
    predicateType: predicateType ?? 'https://sigstore.dev/cosign/sign/v1',
    predicate,
  };
  return Buffer.from(JSON.stringify(statement));
}

/** Who signs images with a key, as cosign does. */
export class KeyHolder {
  readonly #pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });

  get pem(): string {
    return this.#pair.publicKey.export({ format: 'pem', type: 'spki' });
  }

  writeKey(folder: string, name = 'cosign.pub'): string {
    const path = join(folder, name);
    writeFileSync(path, this.pem);
    return path;
  }

  bundle(image: Stored, predicateType?: string, predicate = {}): Buffer {
    const payload = statementOf(image, predicateType, predicate);
    const head = `DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${payload.length} `;
    const sig = this.#sign(Buffer.concat([Buffer.from(head), payload]));
    return Buffer.from(
      JSON.stringify({
        mediaType: BUNDLE,
        verificationMaterial: { publicKey: { hint: 'ours' } },
        dsseEnvelope: {
          payload: payload.toString('base64'),
          payloadType: PAYLOAD_TYPE,
          signatures: [{ sig }],
        },
      }),
    );
  }

  /** As a referrer. */
  attach(registry: FakeRegistry, repository: string, image: Stored): Stored {
    return attachBundle(registry, { repository, image, bundle: this.bundle(image) });
  }

  /** Under a tag of cosign's. */
  attachByTag(registry: FakeRegistry, repository: string, image: Stored): Stored {
    const identity = { 'docker-reference': 'app' };
    const critical = {
      identity,
      image: { 'docker-manifest-digest': image.digest },
      type: 'cosign container image signature',
    };
    const payload = Buffer.from(JSON.stringify({ critical, optional: null }));
    const layer = registry.addBlob(repository, store(payload, SIMPLE_SIGNING));
    const config = registry.addBlob(
      repository,
      storeJson({}, 'application/vnd.oci.image.config.v1+json'),
    );
    const annotations = { 'dev.cosignproject.cosign/signature': this.#sign(payload) };
    const document = {
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: descriptorOf(config),
      layers: [{ ...descriptorOf(layer), annotations }],
    };
    const tags = [`${image.digest.replace(':', '-')}.sig`];
    return registry.addManifest(repository, storeJson(document, MANIFEST), { tags });
  }

  #sign(bytes: Buffer): string {
    return sign('sha256', bytes, this.#pair.privateKey).toString('base64');
  }
}

/** A manifest about an image that carries this bundle. */
export function attachBundle(
  registry: FakeRegistry,
  parts: { readonly repository: string; readonly image: Stored; readonly bundle: Buffer },
): Stored {
  const { repository, image, bundle } = parts;
  const { manifest, blobs } = carrierOf(image, bundle);
  for (const each of blobs) registry.addBlob(repository, each);
  return registry.addManifest(repository, manifest);
}

/** The same, of no registry. */
export function carrierOf(
  image: Stored,
  bundle: Buffer,
): { readonly manifest: Stored; readonly blobs: readonly Stored[] } {
  const layer = store(bundle, BUNDLE);
  const config = store('{}', 'application/vnd.oci.empty.v1+json');
  const document = {
    schemaVersion: 2,
    mediaType: MANIFEST,
    artifactType: BUNDLE,
    config: descriptorOf(config),
    layers: [descriptorOf(layer)],
    subject: descriptorOf(image),
  };
  return { manifest: storeJson(document, MANIFEST), blobs: [layer, config] };
}
