import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { SmallDisk } from '../disks/small-disk.ts';
import { issueCertificates, type KeyPair } from '../helpers/certificate.ts';
import { claimPort } from '../helpers/claim-port.ts';
import { get, type ClientAnswer, type GetOptions } from '../helpers/client.ts';
import { HOUR } from '../helpers/clock.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, digestOf, type Image } from '../helpers/image.ts';
import { createTempFolder, startMirror, type TestMirror } from '../helpers/mirror.ts';
import { MirrorProcess } from '../helpers/process.ts';
import { COURIER, trusted } from '../sync/bundle/brought-bundle.ts';
import { SERIES } from '../sync/bundle/made-bundle.ts';
import { rule, syncConfig } from '../sync/rules.ts';
import { FakeCloud } from '../upstream/cloud/fake-cloud.ts';
import { observeAdmission, type ObservedAdmission } from './observed-admission.ts';

export const MIB = 2 ** 20;
/** So few that a test can have them all open; a mirror at rest has about forty. */
const DESCRIPTORS = 64;
/** Between two rounds of what a cause does again and again. */
const ROUND_MS = 200;

const REGISTRIES = [
  'docker.io',
  'quay.io',
  'ghcr.io',
  'login.example',
  'tokens.example',
  'wanted.example',
  'plain.example',
] as const;
type Name = (typeof REGISTRIES)[number] | 'ecr.example' | 'tls.example';

/**
 * Four mirrors with all that can befall them: `site` has many registries and sync rules, `small` a store
 * that is too small, an old bundle and rules of admission, `disk` a disk that fills, and `edge` is a process of its own, which signals reach.
 */
export class ObservedSite {
  readonly registries: Readonly<Record<Name, FakeRegistry>>;
  readonly site: TestMirror;
  readonly small: TestMirror;
  readonly disk: TestMirror & { readonly disk: SmallDisk };
  /** As of its last start. */
  edge: MirrorProcess;
  readonly cloud: FakeCloud;
  readonly image: Image;
  /** How long what is pulled of `docker.io/library/slow` waits before it may leave. */
  slowMs = 0;
  readonly startEdge: () => Promise<MirrorProcess>;
  /** Of `small`. */
  readonly admission: ObservedAdmission;
  /** The folder of `edge`, with its configuration and its certificate. */
  readonly folder: string;
  readonly certificates: Readonly<Record<'short' | 'long', KeyPair>>;
  readonly #loops = new Map<string, AbortController>();

  static async start(t: ExecutionContext): Promise<ObservedSite> {
    return new ObservedSite(await build(t));
  }

  /** Use `start`. */
  constructor(parts: Parts) {
    this.registries = parts.registries;
    this.site = parts.site;
    this.small = parts.small;
    this.disk = parts.disk;
    this.edge = parts.edge;
    this.startEdge = parts.startEdge;
    this.cloud = parts.cloud;
    this.image = parts.image;
    this.admission = parts.admission;
    this.folder = parts.folder;
    this.certificates = parts.certificates;
    parts.slow.ms = () => this.slowMs;
  }

  /** Where each mirror has its metrics. */
  get targets(): Record<'site' | 'small' | 'disk' | 'edge', string> {
    const { site, small, disk, edge } = this;
    return {
      site: site.server.adminUrl,
      small: small.server.adminUrl,
      disk: disk.server.adminUrl,
      edge: edge.adminUrl,
    };
  }

  /** Asks a mirror for `repository/manifests/tag` or `repository/blobs/digest` of an upstream. */
  async ask(
    mirror: { readonly url: string },
    upstream: Name,
    path: string,
    options?: GetOptions,
  ): Promise<ClientAnswer> {
    return get(`${mirror.url}/v2/${path}?ns=${upstream}`, options);
  }

  /** Sends a command to the admin API of a mirror. */
  async command(mirror: TestMirror, path: string, body: object = {}): Promise<void> {
    const { status, body: said } = await get(`${mirror.server.adminUrl}/api/v1/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (status >= 300) throw new Error(`${path}: ${status} ${said.toString()}`);
  }

  /** A new image under a tag of a registry. */
  publish(
    upstream: Name,
    repository: string,
    tag: string,
    layers: readonly number[] = [1000],
  ): Image {
    const image = buildImage({ seed: `${repository}:${tag} ${performance.now()}`, layers });
    this.registries[upstream].addImage(repository, tag, image);
    return image;
  }

  /** Does something again and again until `stop` of this name. */
  repeat(name: string, round: (turn: number) => Promise<unknown>): void {
    const ending = new AbortController();
    this.#loops.set(name, ending);
    void (async () => {
      for (let turn = 0; !ending.signal.aborted; turn++) {
        await round(turn).catch(() => undefined);
        await pause(ROUND_MS);
      }
    })();
  }

  stop(name: string): void {
    this.#loops.get(name)?.abort();
  }

  stopAll(): void {
    for (const name of this.#loops.keys()) this.stop(name);
  }
}

interface Parts extends Pick<
  ObservedSite,
  | 'registries'
  | 'site'
  | 'small'
  | 'disk'
  | 'edge'
  | 'startEdge'
  | 'cloud'
  | 'image'
  | 'admission'
  | 'folder'
  | 'certificates'
> {
  readonly slow: { ms: () => number };
}

async function build(t: ExecutionContext): Promise<Parts> {
  const image = buildImage({ seed: 'app', layers: [300_000, 20_000] });
  const registries = await startRegistries(t, image);
  const slow = { ms: () => 0 };
  const site = await startSite(t, registries, slow);
  const plain = { url: registries['plain.example'].url, tags: { ttlMs: HOUR } };
  const admission = await observeAdmission(t, 'plain.example');
  const small = await startMirror(t, {
    upstreams: { 'plain.example': plain },
    admission: admission.config,
    store: { maxBytes: 24 * MIB },
    storePath: await storeWithOldBundle(t),
    bundles: { trust: { courier: trusted(COURIER) } },
    access: {
      token: { ttl: HOUR },
      rules: [
        { who: ['anonymous'], may: ['admin'] },
        { who: ['anonymous'], may: ['pull', 'list'], images: ['**'] },
      ],
    },
  });
  const tmpfs = await SmallDisk.mount(t, 32 * MIB);
  const disk = await startMirror(t, {
    upstreams: { 'plain.example': plain },
    storePath: tmpfs.path,
    store: { minFreeBytes: 2 * MIB, maxBytes: 64 * MIB },
    log: { audit: join(await createTempFolder(t), 'no-folder', 'audit.log') },
  });
  const edge = await prepareEdge(t, registries);
  return {
    registries,
    site,
    small,
    disk: { ...disk, disk: tmpfs },
    image,
    admission,
    slow,
    ...edge,
    edge: await edge.startEdge(),
  };
}

/** A store where a bundle was put in force long ago. */
async function storeWithOldBundle(t: ExecutionContext): Promise<string> {
  const path = await createTempFolder(t);
  const bundle = { series: SERIES, key: 'old', number: 1, id: digestOf('old') };
  const applied = [{ ...bundle, appliedAt: Date.now() - 40 * 24 * HOUR }];
  await writeFile(
    join(path, 'bundles.json'),
    JSON.stringify({ version: 1, applied, images: {}, open: [] }),
  );
  return path;
}

async function startRegistries(
  t: ExecutionContext,
  image: Image,
): Promise<Record<Name, FakeRegistry>> {
  const bearer = { kind: 'bearer' } as const;
  const basic = { kind: 'basic', username: 'robot', password: 'secret' } as const;
  const { issued } = await tlsOf();
  const options = {
    'docker.io': { auth: bearer },
    'tokens.example': { auth: bearer },
    'login.example': { auth: basic },
    'ecr.example': { auth: { ...basic, username: 'AWS' } },
    'tls.example': { tls: issued.server },
  };
  const names: readonly Name[] = [...REGISTRIES, 'ecr.example', 'tls.example'];
  const started = names.map(async (name) => {
    const own = name in options ? options[name as keyof typeof options] : {};
    const registry = await FakeRegistry.start(t, own);
    registry.addImage('library/app', 'v1', image, { name: 'app' });
    registry.addImage('site/wanted', 'v1', image);
    return [name, registry] as const;
  });
  return Object.fromEntries(await Promise.all(started)) as Record<Name, FakeRegistry>;
}

let tls: ReturnType<typeof issue> | undefined;
async function issue() {
  return issueCertificates({ server: { days: 300 }, short: { days: 2 }, long: { days: 200 } });
}
async function tlsOf() {
  return (tls ??= issue());
}

async function startSite(
  t: ExecutionContext,
  registries: Record<Name, FakeRegistry>,
  slow: { ms: () => number },
): Promise<TestMirror> {
  const basic = { username: 'robot', password: 'secret' };
  const upstreams = Object.fromEntries(
    REGISTRIES.map((name) => [
      name,
      {
        url: registries[name].url,
        ...(name === 'docker.io' && { tags: { ttlMs: HOUR } }),
        ...(name === 'ghcr.io' && { tags: { negativeTtlMs: HOUR }, concurrency: 1 }),
        ...(name === 'login.example' && { credentials: basic }),
      },
    ]),
  );
  const waited = async ({ repository }: { repository: string }): Promise<void> => {
    if (repository === 'library/slow') await pause(slow.ms());
  };
  return startMirror(t, {
    upstreams,
    gate: {
      isJudged: () => true,
      pass: waited,
      passTag: async ({ target, digest }) => {
        await waited(target);
        return digest;
      },
      passBlob: async () => {},
    },
    timing: { connectMs: 2000, attemptsMs: 100 },
    store: { maxBytes: 256 * MIB },
    sync: syncConfig(
      [
        rule('library/app', { image: 'ghcr.io/library/app', tags: { names: ['v1'] } }),
        rule('site/wanted', { image: 'wanted.example/site/wanted', tags: { globs: ['v*'] } }),
      ],
      { schedule: '0 0 1 1 *' },
    ),
  });
}

async function prepareEdge(t: ExecutionContext, registries: Record<Name, FakeRegistry>) {
  const folder = await createTempFolder(t);
  const { ca, issued } = await tlsOf();
  await mkdir(join(folder, 'tls'));
  await writeFile(join(folder, 'tls', 'ca.crt'), ca);
  await writeFile(join(folder, 'tls', 'client.crt'), issued.long.cert);
  await writeFile(join(folder, 'tls', 'client.key'), issued.long.key);
  const cloud = await FakeCloud.start(t, () => credential(12 * HOUR));
  const [listen, admin] = [await claimPort(), await claimPort()];
  const config = {
    listen: `127.0.0.1:${listen}`,
    admin: `127.0.0.1:${admin}`,
    grace: '40s',
    upstreams: {
      'ecr.example': {
        url: registries['ecr.example'].url,
        credentials: { provider: 'ecr', region: 'eu-central-1' },
      },
      'tls.example': {
        url: registries['tls.example'].url,
        tls: { ca: 'tls/ca.crt', cert: 'tls/client.crt', key: 'tls/client.key' },
      },
    },
    defaultUpstream: 'ecr.example',
  };
  const env = {
    AWS_ENDPOINT_URL_ECR: cloud.url,
    AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
    AWS_SECRET_ACCESS_KEY: 'key',
  };
  const startEdge = async (): Promise<MirrorProcess> =>
    MirrorProcess.start(t, folder, config, { maxFiles: DESCRIPTORS, env });
  return { folder, cloud, startEdge, certificates: issued };
}

/** What Amazon answers: a password that is good for so long. */
export function credential(lifeMs: number) {
  const authorizationToken = Buffer.from('AWS:secret').toString('base64');
  const expiresAt = (Date.now() + lifeMs) / 1000;
  return { body: { authorizationData: [{ authorizationToken, expiresAt }] } };
}
