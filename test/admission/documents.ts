import type { FakeRegistry } from '../helpers/fake-registry.ts';
import { descriptorOf, MEDIA_TYPES, store, storeJson, type Stored } from '../helpers/image.ts';
import { REPOSITORY } from '../helpers/scene.ts';

export interface Attached {
  readonly subject?: Stored;
  readonly configType?: string;
  readonly layerType?: string;
  readonly bytes?: Buffer | string;
  /** Fields beside those of a manifest. */
  readonly extra?: object;
  readonly mediaType?: string;
}

/** An SBOM unless told otherwise. */
export function attachDocument(
  registry: FakeRegistry,
  parts: Attached,
): { manifest: Stored; layer: Stored } {
  const {
    subject,
    bytes = '{}{}',
    layerType = 'text/spdx',
    mediaType = MEDIA_TYPES.manifest,
  } = parts;
  const layer = registry.addBlob(REPOSITORY, store(bytes, layerType));
  const config = registry.addBlob(REPOSITORY, store('{}', parts.configType ?? MEDIA_TYPES.empty));
  const document = {
    schemaVersion: 2,
    ...(mediaType === '' ? {} : { mediaType }),
    config: descriptorOf(config),
    layers: [descriptorOf(layer)],
    ...(subject && { subject: descriptorOf(subject) }),
    ...parts.extra,
  };
  const manifest = storeJson(document, MEDIA_TYPES.manifest);
  return { manifest: registry.addManifest(REPOSITORY, manifest), layer };
}
