import { Option } from 'commander';
import { JSON_OPTION } from './command-context.ts';
import { add, parseBytes, parseList, type Group } from './command-group.ts';

/** Images across a gap that no network spans. */
export function addBundleCommands({ parent: program, run }: Group): void {
  add(program, 'inventory', 'write down what this site holds, for whoever makes bundles for it')
    .requiredOption('--out <file>', 'where it goes; a file that is there is replaced')
    .withExamples('entrepot inventory --out site.inventory')
    .action(run(async () => (await import('./inventory.ts')).inventory));
  const parent = program
    .command('bundle')
    .description('carry images to a site that no network reaches')
    .withExamples(
      'entrepot bundle create --key maker.key --out full.tar',
      'entrepot bundle status',
    );
  addKeygen({ parent, run });
  addCreate({ parent, run });
  addInspect({ parent, run });
  addImport({ parent, run });
  add(parent, 'export', 'write one image to an OCI layout, for tools that know no bundles')
    .argument('<image>', 'with its tag or digest; what is attached to it stays here')
    .requiredOption('--oci-layout <folder>', 'an empty one, or a layout that the image is added to')
    .option('--platforms <list>', 'of these only, such as linux/amd64,linux/arm64', parseList)
    .withExamples('entrepot bundle export ghcr.io/org/app:1.4 --oci-layout layout')
    .action(run(async () => (await import('./bundle-export.ts')).exportImage));
  add(parent, 'status', 'say which bundles are in force, and which parts of others are awaited')
    .withExamples('entrepot bundle status', 'entrepot bundle status --json')
    .action(run(async () => (await import('./bundle-status.ts')).printBundles));
}

function addKeygen({ parent, run }: Group): void {
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
    .action(run(async () => (await import('./bundle-keygen.ts')).generateKey));
}

function addInspect({ parent, run }: Group): void {
  parent
    .command('inspect')
    .description(
      'say what is in a bundle, and verify each part; 0 when it is whole and right, else 1',
    )
    .argument('<path...>', 'files, or folders of them')
    .option('--key <file>', 'the public key that it must be signed by')
    .option('--all', 'show more than 50 images')
    .option(...JSON_OPTION)
    .withExamples(
      'entrepot bundle inspect /media/disk --key maker.key.pub',
      'entrepot bundle inspect app-1-of-2.tar app-2-of-2.tar --json',
    )
    .action(run(async () => (await import('./bundle-inspect.ts')).inspectBundle));
}

function addCreate({ parent, run }: Group): void {
  add(parent, 'create', 'make a bundle of what the rules of sync select, a lock, or named images')
    .argument('[image...]', 'with all platforms, unless a rule selects it')
    .option('--lock <file>', 'the images of this lock')
    .option('--for <inventory>', 'leave out what the site of this inventory has')
    .requiredOption('--key <file>', 'the private key that signs it')
    .option('--out <path>', 'a file, or a folder that is there')
    .option('--to <folder>', 'a drop folder: a part has its name once it is whole')
    .option('--split <size>', 'in parts of so much at most, such as 4GiB', parseBytes)
    .option('--parity', 'one more part, from which any one lost part can be made')
    .option('--with <file...>', 'carry these files as well')
    .withExamples(
      'entrepot bundle create --key maker.key --out full.tar',
      'entrepot bundle create --for site.inventory --key maker.key --out /media/disk --split 4GiB',
      'entrepot bundle create ghcr.io/org/app:1.4 --key maker.key --out app.tar',
    )
    .requires(async () => (await import('./bundle-create.ts')).checkCreate)
    .action(run(async () => (await import('./bundle-create.ts')).createBundle));
}

function addImport({ parent, run }: Group): void {
  add(
    parent,
    'import',
    'take in parts of bundles, in any order: 0 when all is in force, else 1; or a layout',
  )
    .argument('[path...]', 'files, folders of them, or - for standard input')
    .option('--watch <folder>', 'take in what appears in it, until SIGTERM or SIGINT')
    .option('--receipt <file>', 'write what the site holds then, for the next bundle')
    .option('--allow-older', 'also a bundle that is older than the one in force')
    .option('--as <image>', 'it is an OCI layout or a docker-archive: take it in as this image')
    .option('--ref <name>', 'which image of it, where it has several: a name or a digest of it')
    .withExamples(
      'entrepot bundle import /media/disk --receipt site.inventory',
      'entrepot bundle import - < bundle.tar',
      'entrepot bundle import --watch /srv/from-outside',
      'entrepot bundle import app.tar --as ghcr.io/org/app:1.4',
    )
    .requires(async () => (await import('./bundle-import.ts')).checkImport)
    .action(run(async () => (await import('./bundle-import.ts')).importBundle));
}
