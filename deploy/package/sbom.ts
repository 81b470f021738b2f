// npm run sbom: writes dist/sbom.cdx.json, what the package consists of by the lock, with the statements of
// vex.json on weaknesses of it. The same tree gives the same bytes.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import packageJson from '../../package.json' with { type: 'json' };
import { STATEMENTS } from './vex.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const DIST = join(ROOT, 'dist');
const MAX_BYTES = 64 * 1024 * 1024;

const DEVELOPMENT = 'cdx:npm:package:development';

interface Bom {
  readonly serialNumber: string;
  readonly metadata: {
    readonly timestamp: string;
    readonly component: { readonly 'bom-ref': string };
  };
  readonly components: readonly {
    readonly 'bom-ref': string;
    readonly properties: readonly { readonly name: string; readonly value: string }[];
  }[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

// With --omit=dev npm leaves out also what another package wants for its own development.
const args = ['sbom', '--sbom-format=cyclonedx', '--package-lock-only'];
const told = execFileSync('npm', args, { cwd: ROOT, encoding: 'utf8', maxBuffer: MAX_BYTES });
const { serialNumber: _, metadata, ...bom } = JSON.parse(told) as Bom;
const { timestamp: __, component, ...about } = metadata;

const components = bom.components.filter(
  ({ properties }) =>
    !properties.some(({ name, value }) => name === DEVELOPMENT && value === 'true'),
);
const shipped = new Set([component, ...components].map((one) => one['bom-ref']));
const dependencies = bom.dependencies
  .filter(({ ref }) => shipped.has(ref))
  .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((on) => shipped.has(on)) }));
for (const { id, affects } of STATEMENTS) {
  const stray = affects.find(({ ref }) => !shipped.has(ref));
  if (stray)
    throw new Error(`vex.json: ${id} is about ${stray.ref}, which is not shipped any more`);
}
// npm names it after the folder that it stands in.
const own = { ...component, type: 'application', name: packageJson.name };
const whole = {
  ...bom,
  metadata: { ...about, component: own },
  components,
  dependencies,
  vulnerabilities: STATEMENTS,
};
mkdirSync(DIST, { recursive: true });
writeFileSync(join(DIST, 'sbom.cdx.json'), `${JSON.stringify(whole, null, 1)}\n`);
