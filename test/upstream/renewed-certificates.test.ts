import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { readTlsFiles } from '../../src/config/pem.ts';
import { createCertificates, issueCertificates, type KeyPair } from '../helpers/certificate.ts';
import { open } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { Scrape } from '../helpers/scrape.ts';
import { REPOSITORY, UPSTREAM, idle, startScene, type Scene } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';

const KEPT = 'a file under tls cannot be used, and what it held before is kept';
const RENEWED = 'the files under tls are read again';
const SYSTEM_KEPT = 'the authorities of the system cannot be read, those of before count';
const SYSTEM_RENEWED = 'the authorities of the system are read again';

const { ca, issued } = await issueCertificates({
  server: { commonName: 'localhost' },
  first: { commonName: 'first client' },
  second: { commonName: 'second client', days: 90 },
});
const other = await createCertificates();

// The system's store of this process, which each mirror looks at.
const system = mkdtempSync(join(tmpdir(), 'entrepot-system-'));
const [bundle, hashed] = [join(system, 'bundle.pem'), join(system, 'certs')];
process.env['SSL_CERT_FILE'] = bundle;
process.env['SSL_CERT_DIR'] = hashed;
writeFileSync(bundle, ca);
test.after.always(() => rmSync(system, { recursive: true }));

interface Files {
  readonly ca?: Buffer | string;
  readonly cert?: Buffer | string;
  readonly key?: Buffer | string;
}

interface Rotation extends Scene {
  /** Replaces all files at once, as Kubernetes does: by the link of their folder. */
  readonly swap: (files: Files) => Promise<void>;
  /** A pull of something that was not pulled before; its status. */
  readonly pull: (tag: string) => Promise<number>;
  /** Whom the registry has seen since the last look. */
  readonly seen: () => (string | undefined)[];
  readonly told: () => string[];
}

/** A registry that wants a client certificate, in front of it a mirror whose files are links. */
async function startRotation(t: ExecutionContext): Promise<Rotation> {
  const folder = await createTempFolder(t);
  let version = 0;
  const swap = async (files: Files): Promise<void> => {
    const [before, now] = [`..${version}`, `..${(version += 1)}`];
    await mkdir(join(folder, now));
    for (const [name, text] of Object.entries(files))
      await writeFile(join(folder, now, name), text);
    await symlink(now, join(folder, '..new'));
    await rename(join(folder, '..new'), join(folder, '..data'));
    await rm(join(folder, before), { recursive: true, force: true });
  };
  const files = { ca: join(folder, 'ca'), cert: join(folder, 'cert'), key: join(folder, 'key') };
  for (const name of Object.keys(files)) await symlink(`..data/${name}`, join(folder, name));
  await swap({ ca, ...issued.first });
  const { ca: authority, cert, key } = readTlsFiles(files);
  const scene = await startScene(t, {
    // Idle connections end by nothing but what is tested.
    registry: { tls: { ...issued.server, ca, requestClientCert: true, keepAliveTimeout: 60_000 } },
    upstream: { tls: { ca: authority!, cert: cert!, key: key!, files, only: true } },
  });
  const { registry, mirror, manifest } = scene;
  return {
    ...scene,
    swap,
    pull: async (tag) => {
      registry.addImage(REPOSITORY, tag, buildImage({ seed: tag, layers: [10] }), { name: tag });
      return (await manifest(tag)).status;
    },
    seen: () => {
      const clients = registry.requests.map(({ clientCertificate }) => clientCertificate);
      registry.clear();
      return [...new Set(clients)];
    },
    told: () => said(mirror.log, [KEPT, RENEWED]),
  };
}

function said(log: Scene['mirror']['log'], messages: readonly string[]): string[] {
  return log.flatMap(({ msg }) => (messages.includes(String(msg)) ? [String(msg)] : []));
}

test('a metric tells when the client certificate and the authority end, also of a pair that took their place', async (t) => {
  const { mirror, swap, pull } = await startRotation(t);
  const daysOf = async (kind: string): Promise<number> => {
    const scrape = await Scrape.of(mirror.server.adminUrl);
    const end = scrape.sum('certificate_expiry_timestamp_seconds', { upstream: UPSTREAM, kind });
    return Math.round((end - Date.now() / 1000) / 86_400);
  };
  t.deepEqual([await daysOf('client'), await daysOf('authority')], [2, 365]);
  await swap({ ca, ...issued.second });
  t.is(await pull('one'), 200);
  t.deepEqual([await daysOf('client'), await daysOf('authority')], [90, 365]);
});

test('a client certificate that is replaced is shown with the next request, and a running transfer ends as it began', async (t) => {
  const { registry, mirror, image, swap, pull, seen, told } = await startRotation(t);
  t.is(await pull('one'), 200);
  t.deepEqual(seen(), ['first client']);
  const layer = image.layer(1);
  const gate = registry.hold(layer, { after: 500 });
  const running = await open(`${mirror.url}/v2/${REPOSITORY}/blobs/${layer.digest}`);
  await gate.arrived();
  t.is(await pull('beside'), 200);
  t.deepEqual(seen(), ['first client']);
  t.is(registry.openSockets, 2);
  await swap({ ca, ...issued.second });
  t.is(await pull('two'), 200);
  t.deepEqual(seen(), ['second client']);
  // Of the former pair nothing is left but the connection of the transfer.
  await until('idle ones are closed', () => registry.openSockets === 2);
  gate.open();
  t.deepEqual((await running.rest()).subarray(-1500), layer.bytes.subarray(-1500));
  await until('the last one is closed', () => registry.openSockets === 1);
  t.deepEqual(registry.conversation(), []);
  t.deepEqual(told(), [RENEWED]);
});

test('an authority that is replaced counts with the next connection', async (t) => {
  const { registry, swap, pull, seen, told } = await startRotation(t);
  t.is(await pull('one'), 200);
  registry.renewTls({ ...other.server, ca: other.ca });
  await swap({ ca: other.ca, ...other.client });
  seen();
  t.is(await pull('two'), 200);
  t.deepEqual(seen(), ['test client']);
  t.deepEqual(told(), [RENEWED]);
});

const half = (text: Buffer): Buffer => text.subarray(0, text.length / 2);

for (const [what, files] of [
  ['an authority that is half written', { ca: half(ca), ...issued.second }],
  [
    'an authority with a second one half written',
    { ca: Buffer.concat([ca, half(other.ca)]), ...issued.second },
  ],
  ['an authority that is no certificate', { ca: String(ca).replace(/M/g, 'A'), ...issued.second }],
  ['a certificate that is half written', { ca, ...issued.second, cert: half(issued.second.cert) }],
  ['a key that is empty', { ca, ...issued.second, key: '' }],
  ['a pair of which only one file is new', { ca, ...issued.first, cert: issued.second.cert }],
  ['a file that is missing', { ca, cert: issued.second.cert }],
] as const) {
  test(`of ${what} all of before is kept, which is told once`, async (t) => {
    const { swap, pull, seen, told } = await startRotation(t);
    await swap(files);
    t.is(await pull('one'), 200);
    t.is(await pull('two'), 200);
    t.deepEqual(seen(), ['first client']);
    t.deepEqual(told(), [KEPT]);
    await swap({ ca, ...issued.second });
    t.is(await pull('three'), 200);
    t.deepEqual(seen(), ['second client']);
    t.deepEqual(told(), [KEPT, RENEWED]);
  });
}

// Alone in its thread: the others would be counted.
test.serial('fifty rotations leave no connection and no open file behind', async (t) => {
  const { registry, mirror, swap, pull, seen } = await startRotation(t);
  const rotate = async (index: number): Promise<void> => {
    const pairs: readonly KeyPair[] = [issued.first, issued.second];
    await swap({ ca, ...pairs[index % 2]! });
    t.is(await pull(`round${index}`), 200);
    t.deepEqual(seen(), [index % 2 === 0 ? 'first client' : 'second client']);
    await idle(mirror);
    await until('former connections are closed', () => registry.openSockets <= 1);
  };
  const isOpen = (what: string): boolean => what === 'TCPSocketWrap' || what.startsWith('FS');
  const resources = (): number => process.getActiveResourcesInfo().filter(isOpen).length;
  for (let index = 0; index < 5; index += 1) await rotate(index);
  const before = resources();
  for (let index = 5; index < 55; index += 1) await rotate(index);
  await until('no more is open than before', () => resources() <= before);
});

test.serial(
  "an update of the system's bundle counts with the next connection, a cut one not at all",
  async (t) => {
    const scene = await startScene(t, { registry: { tls: issued.server } });
    const { registry, mirror, manifest } = scene;
    const add = (tag: string): void => {
      registry.addImage(REPOSITORY, tag, buildImage({ seed: tag, layers: [10] }));
    };
    const replace = async (text: Buffer | string): Promise<void> => {
      await writeFile(`${bundle}.new`, text);
      await rename(`${bundle}.new`, bundle);
    };
    t.is((await manifest('latest')).status, 200);
    for (const broken of ['', half(ca), Buffer.concat([other.ca, half(ca)])]) {
      await replace(broken);
      add('between');
      t.is((await manifest('between')).status, 200);
      registry.untag(REPOSITORY, 'between');
    }
    t.deepEqual(said(mirror.log, [SYSTEM_KEPT, SYSTEM_RENEWED]), [SYSTEM_KEPT]);
    registry.renewTls(other.server);
    await replace(Buffer.concat([ca, other.ca]));
    add('next');
    t.is((await manifest('next')).status, 200);
    t.deepEqual(said(mirror.log, [SYSTEM_KEPT, SYSTEM_RENEWED]), [SYSTEM_KEPT, SYSTEM_RENEWED]);
  },
);

test.serial(
  "a certificate that is written over in the system's folder counts when a handshake was refused",
  async (t) => {
    const third = await createCertificates();
    await mkdir(hashed);
    const file = join(hashed, 'company.pem');
    await writeFile(file, other.ca);
    const registry = await FakeRegistry.start(t, { tls: other.server });
    const { manifest, mirror } = await startScene(t, { upstream: { url: registry.url } });
    registry.addImage(REPOSITORY, 'one', buildImage({ seed: 'one', layers: [10] }));
    registry.addImage(REPOSITORY, 'two', buildImage({ seed: 'two', layers: [10] }));
    t.is((await manifest('one')).status, 200);
    await writeFile(file, third.ca);
    await registry.changeTls(third.server);
    t.is((await manifest('two')).status, 200);
    t.deepEqual(said(mirror.log, [SYSTEM_RENEWED]), [SYSTEM_RENEWED]);
  },
);
