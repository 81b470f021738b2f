/** The systemd unit: how exposed it is, and that its command works within its walls. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { parse } from 'yaml';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { missingPackages, missingRights, testUnless } from '../helpers/needs.ts';
import { MirrorProcess } from '../helpers/process.ts';
import { installPacked, packProject } from './packed.ts';
import { Unit } from './unit.ts';

const SYSTEMD = join(import.meta.dirname, '..', '..', 'deploy', 'systemd');
const FILE = join(SYSTEMD, 'entrepot.service');
const PROGRAM = '/usr/local/bin/entrepot';
/** Tenths: what `systemd-analyze security` calls well protected. */
const MOST_EXPOSED = 20;
const MINUTES = 60_000;

interface Walls {
  /** Removed in the end. */
  readonly folder: string;
  readonly entrepot: string;
  readonly etc: string;
  readonly state: string;
  /** What stands before a command. */
  readonly prefix: readonly string[];
}

const obstacle =
  missingPackages('bwrap', 'systemd-analyze', 'unshare') ??
  missingRights() ??
  (spawnSync('/usr/bin/python3', ['-c', 'import seccomp']).status === 0
    ? undefined
    : 'install the Debian packages: python3-seccomp');
const test = testUnless('unit', obstacle) as TestFn<Walls>;
if (obstacle === undefined) {
  (anyTest as TestFn<Walls>).before(async (t) => {
    t.timeout(3 * MINUTES);
    Object.assign(t.context, await buildWalls());
  });
  (anyTest as TestFn<Walls>).after.always((t) =>
    rm(t.context.folder, { recursive: true, force: true }),
  );
}

/** The package, the configuration and the folder of the store where the unit's walls let them be. */
async function buildWalls(): Promise<Walls> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-unit-'));
  const [checkout, program, etc, state] = ['checkout', 'program', 'etc', 'state'].map((name) =>
    join(folder, name),
  ) as [string, string, string, string];
  for (const path of [program, etc, state]) await mkdir(path);
  await installPacked(program, (await packProject(checkout)).tarball);
  const unit = new Unit(FILE);
  const filter = join(folder, 'filter.bpf');
  unit.writeFilter(filter);
  const proc = join(folder, 'proc');
  await mkdir(proc);
  const mount = `mount -t proc -o subset=${unit.value('ProcSubset')},hidepid=${unit.value('ProtectProc')} proc '${proc}'`;
  const walls = [...unit.wallsAround(state, [program, etc]), '--ro-bind', proc, '/proc'];
  return {
    folder,
    etc,
    state,
    entrepot: join(program, 'node_modules', '.bin', 'entrepot'),
    prefix: [
      'unshare',
      '--mount',
      '--pid',
      '--fork',
      '--kill-child',
      '--mount-proc',
      'sh',
      '-c',
      `${mount} && exec bwrap --seccomp 9 "$@" 9<'${filter}'`,
      'sh',
      ...walls,
    ],
  };
}

test('systemd finds nothing wrong with the unit, and it is well protected', async (t) => {
  const copy = join(t.context.folder, 'entrepot.service');
  // What it starts is not installed here.
  await writeFile(copy, (await readFile(FILE, 'utf8')).replaceAll(PROGRAM, '/bin/true'));
  const verified = spawnSync('systemd-analyze', ['verify', copy], { encoding: 'utf8' });
  t.deepEqual([verified.status, verified.stderr], [0, '']);
  const args = ['security', '--offline=true', `--threshold=${MOST_EXPOSED}`, copy];
  const judged = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
  t.is(judged.status, 0, judged.stdout + judged.stderr);
  t.regex(judged.stdout, /Overall exposure level for entrepot\.service: \d\.\d OK/);
});

test('the unit gives the server longer to stop than the configuration beside it asks for', async (t) => {
  const config = parse(await readFile(join(SYSTEMD, 'entrepot.yaml'), 'utf8')) as {
    grace: string;
    store: { path: string };
  };
  const unit = new Unit(FILE);
  const seconds = Number.parseFloat(unit.value('TimeoutStopSec') ?? '');
  t.true(seconds >= Number.parseFloat(config.grace) + 10);
  t.is(config.store.path, `/var/lib/${unit.value('StateDirectory')}`);
  t.is(unit.value('ExecStart'), `${PROGRAM} serve --config /etc/entrepot/entrepot.yaml`);
});

test('the walls stand: nothing is written beside the store, nothing read of others', (t) => {
  const { prefix, state } = t.context;
  const attempt = (script: string) =>
    spawnSync(prefix[0]!, [...prefix.slice(1), 'sh', '-c', script], { encoding: 'utf8' });
  t.is(attempt(`touch '${state}/x' && rm '${state}/x'`).status, 0);
  t.is(attempt('id -u').stdout, '990\n');
  t.is(attempt('ls /home /root /tmp | grep -v :').stdout.trim(), basename(t.context.folder));
  for (const refused of [
    'touch /usr/x',
    'touch /etc/x',
    'mount -t tmpfs tmpfs /mnt',
    'cat /proc/meminfo',
    'unshare --user true',
    'chown 0 /tmp',
    `/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'`,
  ]) {
    t.not(attempt(refused).status, 0, refused);
  }
});

test('an image is pulled through the command of the unit, within its walls', async (t) => {
  const { etc, entrepot, prefix, state } = t.context;
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 'walls', layers: [100_000] });
  registry.addImage('library/app', 'v1', image);
  await cp(join(SYSTEMD, 'entrepot.yaml'), join(etc, 'shipped.yaml'));
  const shipped = parse(await readFile(join(etc, 'shipped.yaml'), 'utf8')) as object;
  const mirror = await MirrorProcess.start(
    t,
    etc,
    {
      ...shipped,
      listen: '127.0.0.1:0',
      admin: '127.0.0.1:0',
      store: { path: state },
      upstreams: { 'docker.io': { url: registry.url.replace('127.0.0.1', 'localhost') } },
    },
    { program: [...prefix, entrepot] },
  );
  const app = `${mirror.url}/v2/library/app`;
  t.true((await get(`${app}/manifests/v1`)).body.equals(image.manifest.bytes));
  for (const { digest, bytes } of image.blobs) {
    t.true((await get(`${app}/blobs/${digest}`)).body.equals(bytes));
  }
  const metrics = await get(`${mirror.adminUrl}/metrics`);
  t.regex(metrics.body.toString(), /^process_open_fds \d+$/m);
  t.true(readdirSync(state).includes('catalog'));
});
