import {
  chmodSync,
  existsSync,
  globSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { parse as parseToml } from 'smol-toml';
import { parse as parseYaml } from 'yaml';
import { issueCertificates } from '../helpers/certificate.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { ClientsCommand } from './run-clients.ts';
import type { Result } from './run-main.ts';

const YAML = "upstreams: { docker.io: ~, ghcr.io: ~, 'reg.example:5000': ~ }\n";
const ADDRESS = ['--address', 'https://mirror.example:5000', '--ca', 'ca.crt'];
const { ca: CA } = await issueCertificates({});
const CONFIG_PATH = `version = 2
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
`;
/** What each kind needs on its node. */
const KINDS = {
  docker: {},
  containerd: { '/etc/containerd/config.toml': CONFIG_PATH },
  crio: {},
  podman: {},
  buildkit: {},
  k3s: {},
  rke2: {},
} as const satisfies Record<string, Record<string, string>>;

/** A node whose file system is a folder. */
class Node {
  readonly root: string;
  readonly #command: ClientsCommand;

  private constructor(root: string, command: ClientsCommand) {
    this.root = root;
    this.#command = command;
  }

  static async create(
    t: ExecutionContext,
    files: Readonly<Record<string, string>> = {},
  ): Promise<Node> {
    const command = new ClientsCommand(t, YAML, { 'ca.crt': CA.toString() });
    const node = new Node(await createTempFolder(t), command);
    for (const [path, text] of Object.entries(files)) node.put(path, text);
    return node;
  }

  put(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
  }

  read(path: string): string {
    return readFileSync(join(this.root, path), 'utf8');
  }

  /** Every file, folder and link, with what is in it. */
  tree(): Record<string, string> {
    const paths = globSync('**/{*,.*}', { cwd: this.root }).toSorted();
    return Object.fromEntries(paths.map((path) => [path, this.#describe(join(this.root, path))]));
  }

  #describe(path: string): string {
    const found = lstatSync(path);
    if (found.isSymbolicLink()) return `-> ${readlinkSync(path)}`;
    const mode = (found.mode & 0o7777).toString(8);
    return found.isDirectory() ? mode : `${mode} ${readFileSync(path, 'latin1')}`;
  }

  async write(kind: string, ...args: string[]): Promise<Result> {
    return this.#command.run(kind, ...ADDRESS, '--root', this.root, '--write', ...args);
  }

  async remove(kind: string): Promise<Result> {
    return this.#command.run(kind, '--root', this.root, '--remove');
  }
}

for (const [kind, files] of Object.entries(KINDS)) {
  for (const args of [[], ['--no-fallback']]) {
    test(`clients ${kind} ${args.join(' ')}: written twice changes nothing more, and removed leaves the node as it was`, async (t) => {
      const node = await Node.create(t, files);
      const before = node.tree();
      t.like(await node.remove(kind), { code: 0, stdout: 'nothing of ours is there\n' });
      t.like(await node.write(kind, ...args), { code: 0 });
      const written = node.tree();
      t.true(Object.keys(written).length > Object.keys(before).length);
      const again = await node.write(kind, ...args);
      t.like(again, { code: 0 });
      t.regex(again.stdout, /^(?:unchanged {2}\/etc\/\S+\n)+$/);
      t.deepEqual(node.tree(), written);
      t.like(await node.remove(kind), { code: 0 });
      t.deepEqual(node.tree(), before);
    });
  }
}

const word = fc.stringMatching(/^[a-z]{1,6}$/);
const ending = fc.constantFrom('', '\n', '\n\n', '\r\n');
const comment = fc.constantFrom('', '# of the operator\n', '\n', '  # [host."x"]\n');

/** A table, with strings that look like tables. */
const tomlTable = fc
  .tuple(
    comment,
    word,
    fc.constantFrom('1', '"a # b"', "'''\n[x]\n'''", '[\n[1],\n[2] # c\n]', '1979-05-27'),
  )
  .map(([above, name, value]) => ({ name, text: `${above}[foreign-${name}]\n  key = ${value}\n` }));
const toml = fc
  .tuple(comment, fc.uniqueArray(tomlTable, { maxLength: 4, selector: ({ name }) => name }), ending)
  .map(([head, tables, end]) => (head + tables.map(({ text }) => text).join('')).trimEnd() + end);
const yaml = fc
  .tuple(
    comment,
    fc.constantFrom(1, 2, 4),
    fc.uniqueArray(word, { maxLength: 3 }),
    fc.boolean(),
    ending,
  )
  .map(([head, width, names, hasConfigs, end]) => {
    const indent = ' '.repeat(width);
    const entries = names.map(
      (name) =>
        `${indent}# ${name}\n${indent}${name}.example:\n${indent}${indent}endpoint: [x] # y\n`,
    );
    const mirrors = names.length > 0 ? `mirrors: # z\n${entries.join('')}` : '';
    const configs = hasConfigs
      ? `configs:\n\n${indent}"a.example": { auth: { username: u } }\n`
      : '';
    return (head + configs + mirrors).trimEnd() + end;
  });
const json = fc
  .tuple(
    fc.dictionary(word, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 }),
    fc.option(
      fc.array(fc.constantFrom('https://a.example', 'https://b.example'), { maxLength: 2 }),
    ),
    fc.constantFrom(undefined, 1, 2, 4, '\t'),
    ending,
    fc.boolean(),
  )
  .map(([others, mirrors, space, end, isLast]) => {
    const list = mirrors && { 'registry-mirrors': mirrors };
    return (
      JSON.stringify(isLast ? { ...others, ...list } : { ...list, ...others }, undefined, space) +
      end
    );
  });

interface Foreign {
  readonly kind: keyof typeof KINDS;
  readonly path: string;
  readonly content: fc.Arbitrary<string>;
  readonly parse: (text: string) => unknown;
}

const FOREIGN: readonly Foreign[] = [
  { kind: 'docker', path: '/etc/docker/daemon.json', content: json, parse: JSON.parse },
  {
    kind: 'containerd',
    path: '/etc/containerd/certs.d/ghcr.io/hosts.toml',
    content: toml,
    parse: parseToml,
  },
  { kind: 'buildkit', path: '/etc/buildkit/buildkitd.toml', content: toml, parse: parseToml },
  {
    kind: 'podman',
    path: '/etc/containers/registries.conf.d/50-entrepot.conf',
    content: toml,
    parse: parseToml,
  },
  {
    kind: 'k3s',
    path: '/etc/rancher/k3s/registries.yaml',
    content: yaml,
    parse: (text) => parseYaml(text) ?? {},
  },
];

for (const { kind, path, content, parse } of FOREIGN) {
  test(`clients ${kind}: whatever the operator has in ${path} stays, and is all that is left`, async (t) => {
    const property = fc.asyncProperty(content, async (foreign) => {
      const node = await Node.create(t, { ...KINDS[kind], [path]: foreign });
      const before = node.tree();
      const { code, stdout } = await node.write(kind);
      t.is(code, 0, stdout);
      const written = node.read(path);
      t.true(written.includes('mirror.example:5000'));
      t.true(holds(parse(written), withoutLists(parse(foreign))), written);
      await node.write(kind);
      t.is(node.read(path), written);
      t.is((await node.remove(kind)).code, 0);
      t.deepEqual(node.tree(), before);
    });
    await fc.assert(property, { numRuns: 60 });
  });

  test(`clients ${kind}: what is none of its files in ${path} is refused, and left as it is`, async (t) => {
    for (const foreign of ['{"a": [', '= [\n', 'mirrors: {a: {}}\nx = [', '[1, 2]', '\u{0}']) {
      const node = await Node.create(t, { ...KINDS[kind], [path]: foreign });
      const before = node.tree();
      const { code, stdout } = await node.write(kind);
      t.is(code, 1, foreign);
      t.true(stdout.includes(`refused    ${path}: `), stdout);
      t.true(stdout.endsWith('nothing is changed\n'));
      t.deepEqual(node.tree(), before);
    }
  });
}

/** Whether all that the part says is said by the whole. */
function holds(whole: unknown, part: unknown): boolean {
  if (typeof part !== 'object' || part === null || Array.isArray(part) || part instanceof Date) {
    return isDeepStrictEqual(whole, part);
  }
  return Object.entries(part).every(([key, value]) => holds((whole as never)[key], value));
}

/** Lists have ours before what they had. */
function withoutLists(value: unknown): unknown {
  const { 'registry-mirrors': _, ...others } = value as Record<string, unknown>;
  return others;
}

test('clients docker: after a write that was killed the next one completes it, and a removal leaves nothing of it', async (t) => {
  const node = await Node.create(t, { '/etc/docker/daemon.json': '{"debug": true}' });
  const before = node.tree();
  await node.write('docker');
  const written = node.tree();
  const kill = (): void => {
    // The record is written before the file that it tells of.
    node.put('/etc/docker/daemon.json', '{"debug": true}');
    node.put('/etc/docker/.daemon.json.entrepot', '{"regi');
    node.put('/etc/docker/certs.d/ghcr.io/.hosts.toml.entrepot', '[ho');
  };
  kill();
  t.like(await node.write('docker'), { code: 0 });
  t.like(node.tree(), written);
  kill();
  t.like(await node.remove('docker'), { code: 0 });
  t.deepEqual(node.tree(), before);
});

test('clients docker: what is listed by hand already is not put in, and not taken out', async (t) => {
  const text = '{"registry-mirrors": ["https://mirror.example:5000"]}';
  const node = await Node.create(t, { '/etc/docker/daemon.json': text });
  t.like(await node.write('docker'), { code: 0 });
  t.is(node.read('/etc/docker/daemon.json'), text);
  t.like(await node.remove('docker'), { code: 0 });
  t.is(node.read('/etc/docker/daemon.json'), text);
});

test('clients docker: only ours goes from a daemon.json that was edited in between', async (t) => {
  const path = '/etc/docker/daemon.json';
  const edits = {
    'another mirror in our list': [
      (text: string) => text.replace('5000"]', '5000", "https://b.example"]'),
      { 'registry-mirrors': ['https://b.example'] },
    ],
    'another format': [
      (text: string) => JSON.stringify({ ...JSON.parse(text), debug: true }, undefined, 4),
      { 'registry-mirrors': [], debug: true },
    ],
    'a key behind ours': [
      (text: string) => text.replace(/\n}/, ',\n  "debug": true\n}'),
      { debug: true },
    ],
  } as const;
  for (const [how, [edit, left]] of Object.entries(edits)) {
    const node = await Node.create(t);
    await node.write('docker');
    node.put(path, edit(node.read(path)));
    t.like(await node.write('docker'), { code: 0 }, how);
    t.like(await node.remove('docker'), { code: 0 }, how);
    t.deepEqual(JSON.parse(node.read(path)), left, how);
    t.false(existsSync(join(node.root, `${path}.entrepot`)));
  }
});

test('clients k3s: what was edited between the marks is ours, and half a pair of marks is refused', async (t) => {
  const path = '/etc/rancher/k3s/registries.yaml';
  const foreign = 'mirrors:\n  a.example:\n    endpoint: [x]\n';
  const node = await Node.create(t, { [path]: foreign });
  await node.write('k3s');
  const written = node.read(path);
  node.put(path, `# mine\n${written.replaceAll('mirror.example:5000', 'other.example')}`);
  t.like(await node.write('k3s'), { code: 0 });
  t.is(node.read(path), `# mine\n${written}`);
  node.put(path, written.replace('# <<< entrepot clients\n', ''));
  for (const { code, stdout } of [await node.write('k3s'), await node.remove('k3s')]) {
    t.is(code, 1);
    t.true(stdout.includes(`refused    ${path}: one of the two marks around ours is gone`));
  }
});

test('clients k3s: an entry of the operator for the same registry is refused, with what to bring in', async (t) => {
  const path = '/etc/rancher/k3s/registries.yaml';
  const node = await Node.create(t, { [path]: 'mirrors:\n  ghcr.io:\n    endpoint: [x]\n' });
  const before = node.tree();
  const { code, stdout } = await node.write('k3s');
  t.is(code, 1);
  t.true(
    stdout.includes(
      '    mirrors:\n      "docker.io":\n        endpoint: ["https://mirror.example:5000"]\n',
    ),
  );
  t.deepEqual(node.tree(), before);
});

test('clients: a mirror that moved takes the place of the old one, and a registry that is no longer mirrored goes', async (t) => {
  const node = await Node.create(t, KINDS.containerd);
  const before = node.tree();
  await node.write('containerd');
  const other = new ClientsCommand(t, 'upstreams: { docker.io: ~ }\n');
  const args = ['--address', 'http://10.0.0.9:5000', '--root', node.root];
  const { stdout } = await other.run('containerd', ...args, '--write');
  const [ours = ''] = stdout.split('\n\n');
  t.deepEqual(ours.split('\n').toSorted(), [
    'removed    /etc/containerd/certs.d/ghcr.io/hosts.toml',
    'removed    /etc/containerd/certs.d/reg.example:5000/hosts.toml',
    'removed    /etc/containerd/entrepot-ca.crt',
    'written    /etc/containerd/certs.d/docker.io/hosts.toml',
  ]);
  await other.run('containerd', '--root', node.root, '--remove');
  t.deepEqual(node.tree(), before);
});

test('clients: links are followed as the node follows them, and none leads out of it', async (t) => {
  const node = await Node.create(t, { '/srv/docker/daemon.json': '{}' });
  const outside = await createTempFolder(t);
  symlinkSync('/srv/docker', join(node.root, 'etc-docker'));
  mkdirSync(join(node.root, 'etc'));
  symlinkSync('../../../../../../etc-docker', join(node.root, 'etc/docker'));
  symlinkSync(outside, join(node.root, 'srv/docker/certs.d'));
  chmodSync(join(node.root, 'srv/docker/daemon.json'), 0o600);
  const before = node.tree();
  t.like(await node.write('docker'), { code: 0 });
  t.deepEqual(globSync('**', { cwd: outside }), ['.']);
  t.true(node.read(join(outside, 'ghcr.io/hosts.toml')).includes('mirror.example'));
  const { mode } = statSync(join(node.root, 'srv/docker/daemon.json'));
  t.is(mode & 0o777, 0o600);
  t.true(node.read('/srv/docker/daemon.json').includes('mirror.example'));
  t.like(await node.remove('docker'), { code: 0 });
  t.deepEqual(node.tree(), before);
});

test('clients containerd: without config_path, or with what it excludes, nothing is written', async (t) => {
  const configs = [
    undefined,
    'version = 2\n',
    'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\nconfig_path = ""\n',
    `${CONFIG_PATH}[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\nendpoint = ["x"]\n`,
    'version = \n',
  ];
  for (const config of configs) {
    const node = await Node.create(
      t,
      config === undefined ? {} : { '/etc/containerd/config.toml': config },
    );
    const before = node.tree();
    const { code, stdout } = await node.write('containerd');
    t.is(code, 1, config);
    t.true(stdout.startsWith('refused    /etc/containerd/config.toml: '));
    t.deepEqual(node.tree(), before);
  }
});

test('clients containerd: its own folder of hosts is used, also where an import names it', async (t) => {
  const node = await Node.create(t, {
    '/etc/containerd/config.toml': 'version = 3\nimports = ["conf.d/*.toml"]\n',
    '/etc/containerd/conf.d/a.toml':
      '[plugins."io.containerd.cri.v1.images".registry]\nconfig_path = "/etc/hosts.d:/etc/docker/certs.d"\n',
  });
  t.like(await node.write('containerd'), { code: 0 });
  t.true(existsSync(join(node.root, '/etc/hosts.d/ghcr.io/hosts.toml')));
});

test('clients: options that do not go together, and kinds without files on a node', async (t) => {
  const command = new ClientsCommand(t, YAML);
  const usage = (text: string) => ({
    code: 64,
    stdout: '',
    stderr: `entrepot: 1 problem in the command line\n  ${text}\n"entrepot clients --help" tells how it is written\n`,
  });
  t.deepEqual(
    await command.run('docker', '--write', '--check'),
    usage('--write, --remove and --check do not go together; write one of them'),
  );
  t.deepEqual(
    await command.run('docker', '--root', '/'),
    usage('--root goes with --write, --remove or --check'),
  );
  t.deepEqual(
    await command.run('talos', '--write'),
    usage('talos reads no file on a node; use what "entrepot clients talos" prints'),
  );
});

test('clients podman: a table of the same registry in another file is refused', async (t) => {
  const node = await Node.create(t, {
    '/etc/containers/registries.conf.d/10-site.conf':
      '[[registry]]\nlocation = "ghcr.io"\nblocked = true\n',
  });
  const { code, stdout } = await node.write('podman');
  t.is(code, 1);
  t.true(stdout.includes('10-site.conf has a table of ghcr.io'));
});

test('clients containerd: beside a host of the operator the mirror is asked first, or alone is refused', async (t) => {
  const path = '/etc/containerd/certs.d/ghcr.io/hosts.toml';
  const foreign = 'server = "https://ghcr.io"\n\n# ours\n[host."https://other.example"]\n';
  const node = await Node.create(t, { ...KINDS.containerd, [path]: foreign });
  t.like(await node.write('containerd'), { code: 0 });
  const { host } = parseToml(node.read(path));
  t.deepEqual(Object.keys(host as object), [
    'https://mirror.example:5000',
    'https://other.example',
  ]);
  t.like(await node.remove('containerd'), { code: 0 });
  t.is(node.read(path), foreign);
  for (const text of [foreign, foreign.replace(/^server.*\n/, '')]) {
    node.put(path, text);
    t.like(await node.write('containerd', '--no-fallback'), { code: 1 });
    t.is(node.read(path), text);
  }
});

test('clients docker: where the operator has listed the new address, the old one goes all the same', async (t) => {
  const path = '/etc/docker/daemon.json';
  const node = await Node.create(t, { [path]: '{"registry-mirrors": []}' });
  await node.write('docker');
  node.put(path, node.read(path).replace('5000"]', '5000", "https://new.example:5000"]'));
  const other = new ClientsCommand(t, YAML, {});
  const address = ['--address', 'https://new.example:5000', '--root', node.root];
  t.like(await other.run('docker', ...address, '--write'), { code: 0 });
  t.deepEqual(JSON.parse(node.read(path)), { 'registry-mirrors': ['https://new.example:5000'] });
  t.false(existsSync(join(node.root, `${path}.entrepot`)));
});

test('clients: a root that is no folder is told as one', async (t) => {
  const command = new ClientsCommand(t, YAML, { 'ca.crt': CA.toString() });
  for (const option of ['--write', '--remove', '--check']) {
    const { code, stderr } = await command.run('podman', ...ADDRESS, '--root', '/nope', option);
    t.is(code, 64);
    t.regex(stderr, /--root \/nope: there is no such folder/);
  }
});

test('clients docker: a change of the address that is killed at any of its writes loses track of nothing', async (t) => {
  const path = '/etc/docker/daemon.json';
  const before = '{"debug": true}';
  const other = new ClientsCommand(t, YAML, { 'ca.crt': CA.toString() });
  const moved = ['--address', 'https://new.example:5000', '--ca', 'ca.crt'];
  /** After the first write, and after the second. */
  for (const isRecorded of [false, true]) {
    const node = await Node.create(t, { [path]: before });
    await other.run('docker', ...moved, '--root', node.root, '--write');
    const record = node.read(`${path}.entrepot`);
    await node.remove('docker');
    await node.write('docker');
    node.put(path, before);
    if (isRecorded) node.put(`${path}.entrepot`, record);
    t.like(await other.run('docker', ...moved, '--root', node.root, '--write'), { code: 0 });
    t.deepEqual((JSON.parse(node.read(path)) as Record<string, unknown>)['registry-mirrors'], [
      'https://new.example:5000',
    ]);
    t.like(await node.remove('docker'), { code: 0 });
    t.is(node.read(path), before);
  }
});

test('clients docker --check: a file in which nothing of ours is, is told as that, and a folder as one', async (t) => {
  const node = await Node.create(t, { '/etc/docker/daemon.json': '{"debug": true}' });
  const command = new ClientsCommand(t, YAML, { 'ca.crt': CA.toString() });
  const run = async (option: string) =>
    command.run('docker', ...ADDRESS, '--root', node.root, option);
  const { stdout } = await run('--check');
  t.regex(stdout, /not so +\/etc\/docker\/daemon\.json: nothing of ours is in it/);
  rmSync(join(node.root, '/etc/docker/daemon.json'));
  mkdirSync(join(node.root, '/etc/docker/daemon.json'));
  t.regex((await run('--write')).stdout, /daemon\.json: it is a folder; a file is wanted there/);
});
