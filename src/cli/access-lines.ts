import { isIP } from 'node:net';
import { InvalidArgumentError } from 'commander';
import { isIdentity } from '../config/access-schema.ts';
import { add, parseLimit, type Group } from './command-group.ts';
import { TEXTS } from './texts.ts';

/** Who may pull what. */
export function addAccessCommands(group: Group): void {
  addPolicyCommands(group);
  addTokenCommands(group);
}

function addPolicyCommands({ parent: program, run }: Group): void {
  const parent = program
    .command('policy')
    .description('what may be pulled, by whom, and why')
    .withExamples(
      'entrepot policy check ghcr.io/org/app:1.4',
      'entrepot policy check ghcr.io/org/app --as user:alice',
    );
  add(parent, 'check', 'say whether an image may be pulled, and by which rules: 0 when it may')
    .argument('<image>', 'as any client names it')
    .option(
      '--as <subject>',
      'who pulls, as rules name it: anonymous, user:alice, token:ci; again for what it belongs to',
      parseSubject,
    )
    .option('--group <name>', 'a group that it is in; may stand several times', parseGroup)
    .option('--from <address>', 'that it asks from', parseAddress)
    .requires(async () => (await import('./policy.ts')).checkPolicyOptions)
    .withExamples(
      'entrepot policy check docker.io/library/alpine:3.22',
      'entrepot policy check docker.io/library/alpine:3.22 --as anonymous',
      'entrepot policy check ghcr.io/org/app --as user:alice --group devs --from 10.2.0.7',
    )
    .action(run(async () => (await import('./policy.ts')).checkPolicy));
  add(
    parent,
    'refused',
    'list what is kept here and would be refused, by what is held: 0 when nothing is',
  )
    .option('--limit <count>', 'so many at most', parseLimit, 1000)
    .withExamples('entrepot policy refused', 'entrepot policy refused --json')
    .action(run(async () => (await import('./refused.ts')).listRefused));
}

function addTokenCommands({ parent: program, run }: Group): void {
  const parent = program
    .command('token')
    .description('tokens by which scripts and machines pull')
    .withExamples('entrepot token create ci --expires 90d', 'entrepot token list');
  add(parent, 'create', 'make a token; its secret is told once')
    .argument('<name>', 'rules name it token:NAME')
    .option('--owner <name>', 'who answers for it; else its name')
    .option('--expires <time>', 'it counts so long, such as 90d; else until it is revoked')
    .option('--role <role>', 'at the admin door: metrics, view, operate or admin')
    .option('--json-key <file>', 'write it as a key file, for clients that take _json_key')
    .withExamples(
      'entrepot token create ci --owner alice --expires 90d',
      'entrepot token create site-b --json-key site-b.json',
    )
    .action(run(async () => (await import('./tokens.ts')).createToken));
  add(parent, 'list', 'list the tokens, without their secrets')
    .withExamples('entrepot token list', 'entrepot token list --json')
    .action(run(async () => (await import('./tokens.ts')).listTokens));
  add(parent, 'revoke', 'take a token back at once')
    .argument('<id>', 'as "token list" shows it')
    .withExamples('entrepot token revoke 1x2y3z4a5b6c')
    .action(run(async () => (await import('./tokens.ts')).revokeToken));
}

/** One of `--as`, behind those before it. */
function parseSubject(text: string, before: readonly string[] = []): readonly string[] {
  if (isIdentity(text)) return [...before, text];
  throw new InvalidArgumentError(TEXTS.policySubject);
}

/** One of `--group`, behind those before it. */
function parseGroup(text: string, before: readonly string[] = []): readonly string[] {
  if (isIdentity(`group:${text}`)) return [...before, text];
  throw new InvalidArgumentError(TEXTS.policyGroup);
}

function parseAddress(text: string): string {
  if (isIP(text) !== 0) return text;
  throw new InvalidArgumentError(TEXTS.policyAddress);
}
