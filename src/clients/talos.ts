import { loginStep, type Recipe } from './recipe.ts';
import type { MirrorPlace } from './mirror-place.ts';
import { TEXTS } from './texts.ts';

/** The documents of Talos 1.12 and later. */
export function describeTalos(mirror: MirrorPlace): Recipe {
  const { url, host, ca, registries, fallback } = mirror;
  const documents = registries.map((name) => [
    'kind: RegistryMirrorConfig',
    `name: "${name}"`,
    'endpoints:',
    `  - url: "${url}"`,
    ...(fallback ? [] : ['skipFallback: true']),
  ]);
  if (ca !== undefined) {
    const lines = ca.trim().split('\n');
    const text = lines.map((line) => `    ${line.trim()}`);
    documents.push(['kind: RegistryTLSConfig', `name: "${host}"`, 'ca: |-', ...text]);
  }
  const path = 'entrepot-talos.yaml';
  const content = documents
    .map((lines) => ['apiVersion: v1alpha1', ...lines, ''].join('\n'))
    .join('---\n');
  return {
    files: [{ path, content, format: 'none' }],
    steps: [TEXTS.patchTalos({ path }), ...loginStep(mirror, TEXTS.talosLogin({ host }))],
    notes: [fallback ? TEXTS.fallbackAnyError : TEXTS.noFallback, TEXTS.talosVersion],
  };
}
