import { spawnSync } from 'node:child_process';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { Netns } from '../e2e/netns.ts';
import { issueCertificates } from '../helpers/certificate.ts';
import { outsideEnvironment } from '../helpers/checkout.ts';
import { until } from '../helpers/until.ts';
import { readBlocks, withoutChance, type Block } from './document.ts';
import { PUBLIC_REGISTRIES } from './public-names.ts';
import { Terminal, type Typed } from './terminal.ts';

const REGISTRIES = join(import.meta.dirname, 'public-registries.ts');
const BUNDLE = '/etc/ssl/certs/ca-certificates.crt';
/** Of the public ones, as a token service or a redirect must have it; in the namespace it is its own. */
const ADDRESS = '44.0.0.1';
const IS_READY =
  "fetch('http://127.0.0.1:5001/readyz').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))";

/** The programs that any system has, beside those that a document asks for. */
const SYSTEM = 'bash sh env cat cp ls mkdir mv rm sleep sed grep'.split(' ');

interface Machine {
  /** Where the reader stands: a checkout. */
  readonly folder: string;
  /** The only programs that the document asks for; all of this machine's unless given. */
  readonly programs?: readonly string[];
}

/**
 * Somebody who types what a document says, on a machine that reaches nothing but itself: there the
 * names of the public registries mean scripted ones, whose authority the system trusts.
 */
export class Reader {
  readonly netns: Netns;
  readonly #t: ExecutionContext;
  readonly #machine: Machine;
  readonly #env: Readonly<Record<string, string>>;
  readonly #terminal: Terminal;

  private constructor(
    t: ExecutionContext,
    netns: Netns,
    machine: Machine,
    env: Readonly<Record<string, string>>,
  ) {
    this.#t = t;
    this.netns = netns;
    this.#machine = machine;
    this.#env = env;
    this.#terminal = new Terminal(netns, { folder: machine.folder, env });
  }

  static async start(t: ExecutionContext, machine: Machine): Promise<Reader> {
    t.timeout(240_000);
    const netns = await Netns.create();
    t.teardown(async () => netns.close());
    await startRegistries(netns);
    const programs = machine.programs && (await linkPrograms(netns, machine.programs));
    return new Reader(t, netns, machine, programs === undefined ? {} : { PATH: programs });
  }

  /** All blocks of a document that count. False when a line was not as told. */
  async read(path: string, counts: (block: Block) => boolean = () => true): Promise<boolean> {
    let transcript = '';
    const blocks = readBlocks(join(this.#machine.folder, path)).filter((block) => counts(block));
    for (const { commands, output } of blocks) {
      let printed = '';
      for (const command of commands) {
        const typed = await this.type(command.text);
        // A document tells paths as seen from the folder.
        printed += typed.output.replaceAll(`${this.#machine.folder}/`, '');
        transcript += `$ ${command.text}\n${typed.output}`;
        const where = `${path}:${command.line}\n${transcript}`;
        if (!this.#t.is(typed.code, command.code, where)) return false;
      }
      if (output === undefined) continue;
      const where = `${path}:${commands[0]!.line}\n${transcript}`;
      if (!this.#t.is(withoutChance(printed), withoutChance(output), where)) return false;
    }
    return true;
  }

  /** `npm ci` has the network of this machine; `npm start` runs on beside what is typed after it. */
  async type(command: string): Promise<Typed> {
    if (command === 'npm ci') return this.#typeOutside(command);
    if (command !== 'npm start') return this.#terminal.type(command);
    const started = await this.#terminal.type('npm start >server.log 2>&1 &');
    await until('the server is ready', async () => {
      const { code } = await this.#terminal.type('jobs -r | grep -q "npm start"');
      if (code !== 0) throw new Error(await this.serverLog());
      return this.netns.run(process.execPath, '-e', IS_READY).then(
        () => true,
        () => false,
      );
    });
    return started;
  }

  /** As Ctrl-C in its terminal does. Rejects when it does not end in order. */
  async interruptServer(): Promise<void> {
    await this.type('kill -INT -- -$(jobs -p)');
    await until('the server ends', async () => /"msg":"stopped"/.test(await this.serverLog()));
  }

  async serverLog(): Promise<string> {
    return readFile(join(this.#machine.folder, 'server.log'), 'utf8');
  }

  /** What the public registries were asked. */
  async requests(): Promise<string[]> {
    const log = await readFile(join(this.netns.directory, 'registries.log'), 'utf8');
    return log.split('\n').slice(0, -1);
  }

  #typeOutside(command: string): Typed {
    const { folder: cwd } = this.#machine;
    const npm = { npm_config_prefer_offline: 'true', npm_config_audit: 'false' };
    const env = { ...outsideEnvironment(), ...this.#env, ...npm };
    const { status, stdout, stderr } = spawnSync('bash', ['-c', command], {
      cwd,
      env,
      encoding: 'utf8',
    });
    return { code: status ?? -1, output: stdout + stderr };
  }
}

async function startRegistries(netns: Netns): Promise<void> {
  const hosts = PUBLIC_REGISTRIES.flatMap((registry) => registry.hosts);
  const names = hosts.map((host) => `DNS:${host}`);
  const { ca, issued } = await issueCertificates({ registries: { names } });
  const file = (name: string): string => join(netns.directory, name);
  await writeFile(file('registries.key'), issued.registries.key);
  await writeFile(file('registries.crt'), issued.registries.cert);
  await writeFile(file('authority.crt'), ca);
  await writeFile(file('hosts'), `127.0.0.1 localhost\n${ADDRESS} ${hosts.join(' ')}\n`);
  await netns.run('ip', 'address', 'add', `${ADDRESS}/32`, 'dev', 'lo');
  const trust = `cp ${file('hosts')} /etc/hosts; : >/etc/resolv.conf; cat ${file('authority.crt')} >>${BUNDLE}`;
  await netns.run('sh', '-ec', trust);
  const args = [REGISTRIES, file('registries.key'), file('registries.crt')];
  const service = await netns.start('registries', process.execPath, ...args);
  await netns.listening(service, 443);
}

/** A folder with these alone and what any system has. */
async function linkPrograms(netns: Netns, programs: readonly string[]): Promise<string> {
  const folder = join(netns.directory, 'programs');
  await mkdir(folder);
  for (const name of [...programs, ...SYSTEM]) {
    const { stdout } = spawnSync('sh', ['-c', `command -v ${name}`], {
      env: outsideEnvironment(),
      encoding: 'utf8',
    });
    await symlink(stdout.trim(), join(folder, name));
  }
  return folder;
}
