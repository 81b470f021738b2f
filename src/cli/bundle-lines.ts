import { Option } from 'commander';
import { generateKey } from './bundle-keygen.ts';
import { JSON_OPTION } from './command-context.ts';
import type { Group } from './command-group.ts';

/** Images across a gap that no network spans. */
export function addBundleCommands({ parent: program, run }: Group): void {
  const parent = program
    .command('bundle')
    .description('carry images to a site that no network reaches')
    .withExamples('entrepot bundle keygen --out maker.key');
  parent
    .command('keygen')
    .description('make a key that signs bundles; sites trust its public half under bundles.trust')
    .requiredOption('--out <file>', 'where the key goes; its public half beside it, with .pub')
    .addOption(
      new Option('--algorithm <name>', 'p256 is for machines under FIPS rules')
        .choices(['ed25519', 'p256'])
        .default('ed25519'),
    )
    .option(...JSON_OPTION)
    .withExamples(
      'entrepot bundle keygen --out maker.key',
      'entrepot bundle keygen --out maker.key --algorithm p256',
    )
    .action(run(generateKey));
}
