import { add, type Group } from './command-group.ts';
import { createToken, listTokens, revokeToken } from './tokens.ts';

/** Who may pull what. */
export function addAccessCommands({ parent: program, run }: Group): void {
  const parent = program
    .command('token')
    .description('tokens by which scripts and machines pull')
    .withExamples('entrepot token create ci --expires 90d', 'entrepot token list');
  add(parent, 'create', 'make a token; its secret is told once')
    .argument('<name>', 'rules name it token:NAME')
    .option('--owner <name>', 'who answers for it; else its name')
    .option('--expires <time>', 'it counts so long, such as 90d; else until it is revoked')
    .option('--json-key <file>', 'write it as a key file, for clients that take _json_key')
    .withExamples(
      'entrepot token create ci --owner alice --expires 90d',
      'entrepot token create site-b --json-key site-b.json',
    )
    .action(run(createToken));
  add(parent, 'list', 'list the tokens, without their secrets')
    .withExamples('entrepot token list', 'entrepot token list --json')
    .action(run(listTokens));
  add(parent, 'revoke', 'take a token back at once')
    .argument('<id>', 'as "token list" shows it')
    .withExamples('entrepot token revoke 1x2y3z4a5b6c')
    .action(run(revokeToken));
}
