import type { ExecutionContext } from 'ava';
import { HOUR } from '../helpers/clock.ts';
import { startScene, UPSTREAM, type Scene, type SceneOptions } from '../helpers/scene.ts';
import type { AdmissionConfig } from './guarded.ts';

export interface Aged extends Scene {
  readonly admission: AdmissionConfig;
}

export const MIN_AGE = 48 * HOUR;

/** A mirror whose rule asks of everything of its upstream that it is known for two days. */
export async function startAged(
  t: ExecutionContext,
  options: SceneOptions & { readonly mode?: 'audit' } = {},
): Promise<Aged> {
  const { mode = 'enforce', ...rest } = options;
  const rule = { images: [`${UPSTREAM}/**`], mode, minAge: MIN_AGE } as const;
  const admission: AdmissionConfig = { trust: { keys: {} }, rules: [rule] };
  return { ...(await startScene(t, { admission, ...rest })), admission };
}
