import type { ExecutionContext } from 'ava';
import type { Config } from '../../src/config/config.ts';
import { get, type ClientAnswer } from '../helpers/client.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';
import {
  REPOSITORY,
  startScene,
  UPSTREAM,
  type Scene,
  type SceneOptions,
} from '../helpers/scene.ts';
import { KeyHolder } from './signing.ts';

export type AdmissionConfig = NonNullable<Config['admission']>;
type Rule = AdmissionConfig['rules'][number];

export interface Guarded extends Scene {
  readonly signer: KeyHolder;
  readonly folder: string;
  readonly admission: AdmissionConfig;
}

/** A mirror whose rule asks for the signature of one key on everything of its upstream. */
export async function startGuarded(
  t: ExecutionContext,
  { rule = {}, ...options }: SceneOptions & { readonly rule?: Partial<Rule> } = {},
): Promise<Guarded> {
  const folder = await createTempFolder(t);
  const signer = new KeyHolder();
  const admission = admissionBy(signer.writeKey(folder), rule);
  const scene = await startScene(t, { admission, ...options });
  return { ...scene, signer, folder, admission };
}

/** A rule about everything of the upstream, by the key in this file. */
export function admissionBy(file: string, rule: Partial<Rule> = {}): AdmissionConfig {
  const signedBy = [{ key: 'release' }];
  const about = { images: [`${UPSTREAM}/**`], mode: 'enforce' as const, signedBy };
  return { trust: { keys: { release: { file } } }, rules: [{ ...about, ...rule }] };
}

/** What is pulled from another mirror on the same store, which asks no upstream, after the end of this one. */
export async function restartOffline(
  t: ExecutionContext,
  { mirror, registry, admission }: Scene & { readonly admission: AdmissionConfig },
  storePath: string,
): Promise<(path: string) => Promise<ClientAnswer>> {
  await mirror.idle();
  await mirror.stop();
  await registry.refuse();
  registry.clear();
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  const next = await startMirror(t, { upstreams, storePath, admission, offline: true });
  return async (path) => get(`${next.url}/v2/${REPOSITORY}/${path}`);
}

export function messageOf({ body }: ClientAnswer): string {
  const { errors } = JSON.parse(body.toString()) as { errors: [{ message: string }] };
  return errors[0].message;
}

export function codeOf({ body }: ClientAnswer): string {
  const { errors } = JSON.parse(body.toString()) as { errors: [{ code: string }] };
  return errors[0].code;
}
