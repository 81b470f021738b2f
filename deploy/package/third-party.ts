import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Metafile } from 'esbuild-wasm';
import packageJson from '../../package.json' with { type: 'json' };

/** A package of which code is in the bundle. */
export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly folder: string;
}

/** Each package of which bundles of esbuild have code, by name and version. */
export function findBundled(metafiles: readonly Metafile[], root: string): BundledPackage[] {
  const folders = new Set<string>();
  for (const { inputs } of metafiles.flatMap(({ outputs }) => Object.values(outputs))) {
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      const folder = /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(path)?.[0];
      if (folder !== undefined && bytesInOutput > 0) folders.add(join(root, folder));
    }
  }
  const packages = [...folders].map((folder) => {
    const manifest = readFileSync(join(folder, 'package.json'), 'utf8');
    const { name, version, license } = JSON.parse(manifest) as Omit<BundledPackage, 'folder'>;
    return { name, version, license, folder };
  });
  const byId = new Map(packages.map((one) => [`${one.name}@${one.version}`, one]));
  return [...byId].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one);
}

/** The text that goes with the bundle: the licences and notices of the packages, each text once. */
export function describeLicences(packages: readonly BundledPackage[], ownLicence: string): string {
  const byText = Map.groupBy(packages, (one) => findText(one, ownLicence));
  const sections = [...byText].map(([text, bearers]) => {
    const names = bearers.map((one) => `${one.name} ${one.version} (${one.license})`);
    return `${names.join('\n')}\n\n${text}`;
  });
  return `${sections.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`;
}

/** What a package says itself, by files or by its readme; one that only names ours is given its text. */
function findText({ name, license, folder }: BundledPackage, ownLicence: string): string {
  const read = (file: string): string => readFileSync(join(folder, file), 'utf8');
  const files = globSync('*', { cwd: folder }).toSorted();
  const texts = files.filter((file) => /^(licen[cs]e|copying|notice)/i.test(file)).map(read);
  if (texts.length > 0) return texts.map((text) => text.trim()).join('\n\n');
  if (license === packageJson.license) return ownLicence.trim();
  const readme = files.filter((file) => /^readme/i.test(file)).map(read);
  const section = /^#* *licen[cs]e\s*$[^]*/im.exec(readme.join('\n'))?.[0].trim();
  if (section === undefined) throw new Error(`${name} has no text of its licence`);
  return section;
}
