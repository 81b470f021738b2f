import { JSON_OPTION } from './command-context.ts';
import type { Group } from './command-group.ts';

const PUBLIC_SIGSTORE = 'https://tuf-repo-cdn.sigstore.dev';

/** Whom signatures are traced back to. */
export function addTrustCommands({ parent: program, run }: Group): void {
  const parent = program
    .command('trust')
    .description('whom signatures are traced back to')
    .withExamples('entrepot trust refresh --out trusted_root.json');
  parent
    .command('refresh')
    .description('fetch the trust root of Sigstore into a file, and say what changed')
    .requiredOption('--out <file>', 'where it goes; what was last seen is kept beside it, in .tuf')
    .option('--mirror <url>', 'another TUF repository than the public one', PUBLIC_SIGSTORE)
    .option('--root <file>', 'the first root.json of another repository')
    .option('--ca <file>', 'the authority of its certificate, in PEM, which alone counts then')
    .option(...JSON_OPTION)
    .withExamples(
      'entrepot trust refresh --out trusted_root.json',
      'entrepot trust refresh --out trusted_root.json --mirror https://tuf.example.com --root root.json',
    )
    .action(run(async () => (await import('./trust.ts')).refreshTrust));
}
