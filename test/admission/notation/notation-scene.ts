import type { ExecutionContext } from 'ava';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { FakeRegistry } from '../../helpers/fake-registry.ts';
import { descriptorOf, MEDIA_TYPES, store, storeJson, type Stored } from '../../helpers/image.ts';
import { createTempFolder } from '../../helpers/mirror.ts';
import {
  REPOSITORY,
  startScene,
  UPSTREAM,
  type Scene,
  type SceneOptions,
} from '../../helpers/scene.ts';
import type { AdmissionConfig } from '../guarded.ts';
import { FORMS, MANIFEST, STORES, type Form } from './signed-by-notation.ts';

export interface NotationScene extends Scene {
  /** The folder of trust stores. */
  readonly stores: string;
  readonly admission: AdmissionConfig;
  /** The image that Notation signed, with the tag `signed`. */
  readonly signed: { readonly manifest: Stored; readonly config: Stored; readonly layer: Stored };
}

const NOTATION = 'application/vnd.cncf.notary.signature';
/** Who signed the fixture `plain`. */
export const PLAIN = 'x509.subject: C=US, ST=WA, O=Notary\\, Inc., CN=plain';

/** A mirror whose rule asks for a signature of Notation on everything of its upstream. */
export async function startNotation(
  t: ExecutionContext,
  {
    identities = [PLAIN],
    level = 'strict',
    more = [],
    ...options
  }: SceneOptions & {
    readonly identities?: string[];
    readonly level?: 'strict' | 'audit';
    readonly more?: NonNullable<AdmissionConfig['rules'][number]['signedBy']>;
  } = {},
): Promise<NotationScene> {
  const stores = await createTempFolder(t);
  for (const [type, named] of Object.entries(STORES)) {
    for (const [name, pem] of Object.entries(named))
      writeStore(stores, `${type}/${name}/root.pem`, pem);
  }
  const admission: AdmissionConfig = {
    trust: { keys: {}, notation: { stores } },
    rules: [
      {
        images: [`${UPSTREAM}/**`],
        mode: 'enforce',
        signedBy: [{ notation: { identities, level } }, ...more],
      },
    ],
  };
  const scene = await startScene(t, { admission, ...options });
  return { ...scene, stores, admission, signed: addSigned(scene.registry) };
}

export function writeStore(stores: string, file: string, content: string | Uint8Array): void {
  const path = join(stores, 'x509', file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

/** As `notation sign` attaches it. */
export function attachEnvelope(
  registry: FakeRegistry,
  image: Stored,
  envelope: Buffer,
  {
    form = 'jws',
    repository = REPOSITORY,
  }: { readonly form?: Form; readonly repository?: string } = {},
): Stored {
  const layer = registry.addBlob(repository, store(envelope, FORMS[form]));
  const config = registry.addBlob(repository, store('{}', NOTATION));
  const document = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: descriptorOf(config),
    layers: [descriptorOf(layer)],
    subject: descriptorOf(image),
    annotations: { 'io.cncf.notary.x509chain.thumbprint#S256': '[]' },
  };
  return registry.addManifest(repository, storeJson(document, MEDIA_TYPES.manifest));
}

function addSigned(registry: FakeRegistry): NotationScene['signed'] {
  const config = registry.addBlob(REPOSITORY, store('{}', MEDIA_TYPES.config));
  const layer = registry.addBlob(REPOSITORY, store('layer', MEDIA_TYPES.layer));
  const manifest = store(MANIFEST, MEDIA_TYPES.manifest);
  registry.addManifest(REPOSITORY, manifest, { tags: ['signed'] });
  return { manifest, config, layer };
}
