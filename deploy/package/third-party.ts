import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Metafile } from 'esbuild';

/** A package of which code is in the bundle. */
export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly folder: string;
}

/** Each package of which a bundle of esbuild has code, by name and version. */
export function findBundled({ outputs }: Metafile, root: string): BundledPackage[] {
  const folders = new Set<string>();
  for (const { inputs } of Object.values(outputs)) {
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
export function describeLicences(packages: readonly BundledPackage[]): string {
  const byText = Map.groupBy(packages, ({ folder }) => {
    const files = globSync('*', { cwd: folder }).toSorted();
    return files
      .filter((file) => /^(licen[cs]e|copying|notice)/i.test(file))
      .map((file) => readFileSync(join(folder, file), 'utf8').trim())
      .join('\n\n');
  });
  const sections = [...byText].map(([text, bearers]) =>
    [bearers.map((one) => `${one.name} ${one.version} (${one.license})`).join('\n'), text].join(
      '\n\n',
    ),
  );
  return `${sections.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`;
}
