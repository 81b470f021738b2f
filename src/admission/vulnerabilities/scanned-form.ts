import { readDescriptor } from '../../oci/descriptor.ts';
import { DOCKER_LIST, OCI_IMAGE_CONFIG, OCI_INDEX, OCI_MANIFEST } from '../../oci/media-types.ts';
import { isRecord, listOf } from './bounded-json.ts';

/** How a manifest is looked into: an index has nothing of its own to find, each child is looked into by itself. */
export type ScannedForm =
  { readonly is: 'index' } | { readonly is: 'content'; readonly mediaType: string };

/** One with any other field could be read as something else. */
const INDEX_FIELDS: ReadonlySet<string> = new Set([
  'schemaVersion',
  'mediaType',
  'artifactType',
  'manifests',
  'subject',
  'annotations',
]);
const INDEXES: ReadonlySet<unknown> = new Set([undefined, OCI_INDEX, DOCKER_LIST]);
const CONFIGS: ReadonlySet<string> = new Set([
  OCI_IMAGE_CONFIG,
  'application/vnd.docker.container.image.v1+json',
]);
const LAYER = /^application\/vnd\.(?:oci\.image\.layer|docker\.image\.rootfs)\./;
/** BuildKit gives its attestations the config of an image. */
const STATEMENT = 'application/vnd.in-toto+json';

/** By what the manifest holds: what has a layer of an image is one, whatever its config says. */
export function scannedFormOf(bytes: Uint8Array): ScannedForm {
  const parsed: unknown = JSON.parse(Buffer.from(bytes).toString());
  const document = isRecord(parsed) ? parsed : {};
  const { mediaType, manifests, config } = document;
  const hasOnly = Object.keys(document).every((name) => INDEX_FIELDS.has(name));
  if (Array.isArray(manifests) && hasOnly && INDEXES.has(mediaType)) return { is: 'index' };
  const own = typeof mediaType === 'string' && mediaType !== '' ? mediaType : OCI_MANIFEST;
  const layers = listOf(document['layers']).map((layer) => readDescriptor(layer)?.mediaType ?? '');
  const configType = readDescriptor(config)?.mediaType ?? '';
  if (layers.some((type) => LAYER.test(type))) return { is: 'content', mediaType: own };
  if (layers.length > 0 && layers.every((type) => type === STATEMENT)) {
    return { is: 'content', mediaType: STATEMENT };
  }
  const isImage = CONFIGS.has(configType) || configType === '';
  return { is: 'content', mediaType: isImage ? own : configType };
}
