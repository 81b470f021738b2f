import {
  Argument,
  CommanderError,
  InvalidArgumentError,
  Option,
  type HelpConfiguration,
  type OutputConfiguration,
} from 'commander';
import packageJson from '../../package.json' with { type: 'json' };
import { addAccessCommands } from './access-lines.ts';
import { addBundleCommands } from './bundle-lines.ts';
import { JSON_OPTION, type CommandContext, type CommandOptions } from './command-context.ts';
import { add, parseBytes, parseLimit, parseList, type Group, type Run } from './command-group.ts';
import { CLIENT_KINDS } from '../clients/client-kinds.ts';
import { styled } from './colours.ts';
import { CommandLine } from './command-line.ts';
import type { Shell } from './completion.ts';
import { TEXTS } from './texts.ts';
import { addTrustCommands } from './trust-lines.ts';

const LOCKED_OPTION = [
  '--locked <file>',
  'take the digests of this lock instead of what the tags mean now',
] as const;
const ALL_OPTION = ['--all', 'show more than 50 images'] as const;

const HELP: HelpConfiguration = { styleTitle: (title) => styled('bold', title) };

/** Every command with its arguments and options. */
export function createProgram(output: OutputConfiguration, run: Run): CommandLine {
  const program = new CommandLine('entrepot')
    .description(packageJson.description)
    .option('-V, --version', 'print the version of entrepot and of Node; with --json, as JSON')
    .exitOverride()
    .configureHelp(HELP)
    .configureOutput(output)
    .withExamples('entrepot serve --config entrepot.yaml', 'entrepot status', 'entrepot help ls');
  program.on('option:version', () => {
    // Which ends the command, as help does.
    throw new CommanderError(0, VERSION_CODE, '');
  });
  const group = { parent: program, run };
  addServerCommands(group);
  addConfigCommands(group);
  addStoreCommands(group);
  addPinCommands(group);
  addSyncCommands(group);
  addBundleCommands(group);
  addAccessCommands(group);
  addTrustCommands(group);
  addCompletion(group);
  return program;
}

/** Of the `CommanderError` that asks for the version. */
export const VERSION_CODE = 'entrepot.version';

function addServerCommands({ parent, run }: Group): void {
  add(parent, 'serve', 'serve pulls until SIGTERM or SIGINT; SIGHUP reads the configuration again')
    .withExamples('entrepot serve', 'entrepot serve --config /etc/entrepot/entrepot.yaml')
    .action(run(async () => (await import('./serve.ts')).serve));
  add(parent, 'status', 'say how the running server and its upstreams do')
    .withExamples('entrepot status', 'entrepot status --json')
    .action(run(async () => (await import('./status.ts')).printStatus));
  add(parent, 'doctor', 'examine every upstream, and say what to do about what is wrong')
    .argument('[image...]', 'to look for, such as docker.io/library/alpine:latest')
    .withExamples('entrepot doctor', 'entrepot doctor ghcr.io/org/app:1.4')
    .action(run(async () => (await import('./doctor.ts')).doctor));
  addClients({ parent, run });
}

function addClients({ parent, run }: Group): void {
  add(parent, 'clients', 'print what a kind of client needs to pull through this mirror')
    .addArgument(new Argument('<kind>', 'of client').choices(CLIENT_KINDS))
    .option('--address <url>', 'where clients reach this mirror; else as it listens', parseMirror)
    .option('--ca <file>', 'the authority of its certificate, in PEM')
    .option('--no-fallback', 'never ask the upstream where the mirror fails')
    .option('--write', 'bring it into the files of this node, and keep what is in them')
    .option('--remove', 'take it out of the files of this node again')
    .option('--check', 'say which files of this node are in force: 0 only when all are')
    .option('--root <folder>', 'where the file system of the node is mounted')
    .withExamples(
      'entrepot clients docker',
      'entrepot clients containerd --address https://mirror.example:5000 --ca ca.crt',
      'entrepot clients podman --address http://mirror.example:5000 --write',
    )
    .requires(async () => (await import('./clients.ts')).checkClients)
    .action(run(async () => (await import('./clients.ts')).clients));
}

function addConfigCommands({ parent: program, run }: Group): void {
  const parent = program
    .command('config')
    .description('check the configuration, describe its keys')
    .withExamples('entrepot config check', 'entrepot config schema');
  add(parent, 'check', 'say what is wrong, or print what is in force')
    .withExamples('entrepot config check', 'entrepot config check --config new.yaml --json')
    .action(run(async () => (await import('./config.ts')).checkConfig));
  parent
    .command('schema')
    .description('print the JSON Schema of the file, for editors')
    .option(...JSON_OPTION)
    .withExamples('entrepot config schema > entrepot.schema.json')
    .action(run(async () => (await import('./config.ts')).printConfigSchema));
}

/** What is held, and what goes. */
function addStoreCommands({ parent, run }: Group): void {
  add(parent, 'ls', 'list the held images')
    .argument('[glob]', 'over the name, or over name:tag, such as "docker.io/library/*:1.*"')
    .addOption(
      new Option(
        '--sort <order>',
        'by name, by size, the oldest pull first, or the most pulls first',
      )
        .choices(['name', 'size', 'oldest', 'pulls'])
        .default('name'),
    )
    .option('--limit <count>', 'so many at most', parseLimit, 1000)
    .withExamples(
      'entrepot ls',
      'entrepot ls "docker.io/library/*:1.*" --sort oldest --limit 20',
      'entrepot ls --sort pulls',
    )
    .action(run(async () => (await import('./ls.ts')).ls));
  add(parent, 'explain', 'say what is held of an image, what is missing, and what keeps it')
    .argument('<image>')
    .withExamples(
      'entrepot explain docker.io/library/alpine:3.22',
      'entrepot explain ghcr.io/org/app@sha256:…',
    )
    .action(run(async () => (await import('./explain.ts')).explain));
  add(parent, 'gc', 'make room: what was pulled longest ago goes first')
    .option('--dry-run', 'only say what would go')
    .option('--bytes <size>', 'so much, such as 10GiB; else down to the low watermark', parseBytes)
    .withExamples('entrepot gc --dry-run', 'entrepot gc --bytes 10GiB')
    .action(run(async () => (await import('./gc.ts')).gc));
  add(parent, 'refresh', 'ask the upstream what a tag means now, whatever is held')
    .argument('<image>', 'with its tag')
    .withExamples('entrepot refresh docker.io/library/alpine:3.22')
    .action(run(async () => (await import('./refresh.ts')).refresh));
  add(parent, 'warm', 'fetch whole images ahead of their clients; 0 when all are ready, else 1')
    .argument(
      '<image...>',
      'a tag is asked for anew; they are kept as pulled ones are, "pin" keeps longer',
    )
    .option('--platforms <list>', 'of these only, such as linux/amd64,linux/arm64', parseList)
    .option('--deadline <time>', 'what is not here by then is late, from 1s to 1h (default: "10m")')
    .withExamples(
      'entrepot warm docker.io/library/alpine:3.22 ghcr.io/org/app:1.4',
      'entrepot warm ghcr.io/org/app:1.4 --platforms linux/arm64 --deadline 30m',
    )
    .action(run(async () => (await import('./warm.ts')).warm));
  add(parent, 'rm', 'take one image out of the store; the next pull fetches it anew')
    .argument('<image>', 'with its tag or digest')
    .option('--dry-run', 'only say what would go')
    .withExamples(
      'entrepot rm ghcr.io/org/app:1.4',
      'entrepot rm ghcr.io/org/app@sha256:… --dry-run',
    )
    .action(run(async () => (await import('./rm.ts')).rm));
  add(parent, 'verify', 'read all that is held, and fetch again what is damaged')
    .option('--rebuild', 'make the catalog anew from the files; the server must not run')
    .withExamples('entrepot verify', 'entrepot verify --rebuild')
    .action(run(async () => (await import('./verify.ts')).verify));
}

function addPinCommands({ parent, run }: Group): void {
  add(parent, 'pin', 'keep an image, however old it gets')
    .argument(
      '[image]',
      'a name, name:tag, name@digest, or a glob of one of these with its registry: "*" stops at a slash, "**" does not',
    )
    .option('--reason <text>', 'why, for those who read the list of pins')
    .option(
      '--in-use <file>',
      'keep the images that this file lists, one a line, and no older list',
    )
    .option(
      '--source <name>',
      'who has them in use; each has a list of its own (default: "default")',
    )
    .withExamples(
      'entrepot pin docker.io/library/alpine:3.22 --reason "base of all"',
      'entrepot pin "ghcr.io/org/**"',
      'entrepot pin --in-use images.txt --source cluster-a',
    )
    .requires(async () => (await import('./pins.ts')).checkPin)
    .action(run(async () => (await import('./pins.ts')).pin));
  add(parent, 'pins', 'list what is pinned, by whom and why')
    .withExamples('entrepot pins', 'entrepot pins --json')
    .action(run(async () => (await import('./pins.ts')).listPins));
  add(parent, 'unpin', 'take back a pin by hand')
    .argument('<image>', 'as it was pinned')
    .withExamples('entrepot unpin docker.io/library/alpine:3.22')
    .action(run(async () => (await import('./pins.ts')).unpin));
}

/** What the site must hold. */
function addSyncCommands({ parent: program, run }: Group): void {
  const parent = program
    .command('sync')
    .description('hold what the site must hold')
    .withExamples('entrepot sync plan', 'entrepot sync run');
  add(
    parent,
    'plan',
    'say what a run would fetch, keep and release: 0 nothing, 2 something, 1 problems',
  )
    .option('--lock <file>', 'write the digests down, to be looked through and replayed')
    .option(...LOCKED_OPTION)
    .option(...ALL_OPTION)
    .withExamples(
      'entrepot sync plan',
      'entrepot sync plan --lock site.lock',
      'entrepot sync plan --locked site.lock --all',
    )
    .action(run(async () => (await import('./sync-plan.ts')).syncPlan));
  add(parent, 'run', 'fetch what is missing, and report')
    .option(...LOCKED_OPTION)
    .option('--image <image...>', 'of the selection these alone; all others stay as they are')
    .withExamples('entrepot sync run', 'entrepot sync run --locked site.lock')
    .action(run(async () => (await import('./sync-run.ts')).syncRun));
  add(parent, 'status', 'say what would break without the upstreams: 0 only when all is ready')
    .option(...ALL_OPTION)
    .withExamples('entrepot sync status', 'entrepot sync status --all --json')
    .action(run(async () => (await import('./sync-status.ts')).syncStatus));
  add(parent, 'daemon', 'have a server elsewhere run by the schedule, until SIGTERM or SIGINT')
    .requiredOption('--server <url>', 'its admin API, such as http://127.0.0.1:5001', parseServer)
    .withExamples('entrepot sync daemon --server http://127.0.0.1:5001')
    .action(run(async () => (await import('./sync-daemon.ts')).syncDaemon));
}

/** Those that a script can be printed for. */
export const SHELLS: readonly Shell[] = ['bash', 'zsh', 'fish'];

function addCompletion({ parent, run }: Group): void {
  parent
    .command('completion')
    .description('print a script by which a shell completes these commands')
    .addArgument(new Argument('<shell>', 'that completes').choices(SHELLS))
    .option(...JSON_OPTION)
    .withExamples('entrepot completion bash > /etc/bash_completion.d/entrepot')
    .action(
      run(async () => {
        const { printCompletion } = await import('./completion.ts');
        return (shell: Shell, options: CommandOptions, context: CommandContext) =>
          printCompletion(parent, shell, context, options);
      }),
    );
}

function parseServer(text: string): URL {
  const url = URL.parse(text);
  const isPlain = url && ['http:', 'https:'].includes(url.protocol) && !url.search && !url.hash;
  if (isPlain && url.username === '' && url.password === '') return url;
  throw new InvalidArgumentError(TEXTS.writeServer);
}

function parseMirror(text: string): URL {
  const url = URL.parse(text);
  const isPlain =
    url && ['http:', 'https:'].includes(url.protocol) && url.href === `${url.origin}/`;
  if (isPlain) return url;
  throw new InvalidArgumentError(
    'write a URL without a path, such as "https://mirror.example:5000"',
  );
}
