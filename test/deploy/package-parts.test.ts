/** What an installed package loads only when it is used, and what ships beside the program. */
import { spawn, spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { createCertificates } from '../helpers/certificate.ts';
import { get } from '../helpers/client.ts';
import { FakeCollector } from '../helpers/fake-collector.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { MirrorProcess } from '../helpers/process.ts';
import { refreshToken, startAzureRegistry } from '../upstream/cloud/azure-registry.ts';
import { FakeCloud } from '../upstream/cloud/fake-cloud.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { bareEnvironment, installPacked, packProject } from './packed.ts';

const test = anyTest as TestFn<{ folders: string; folder: string; main: string }>;
const PROJECT = join(import.meta.dirname, '..', '..');
const MINUTES = 60_000;
const UPSTREAM = 'cloud.example';
const KEYS = { AWS_ACCESS_KEY_ID: 'AKIDEXAMPLEEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret' };
const IMAGE = buildImage({ seed: 'parts', layers: [3000] });

test.before(async (t) => {
  t.timeout(6 * MINUTES);
  const folders = await mkdtemp(join(tmpdir(), 'entrepot-parts-'));
  const folder = join(folders, 'installed');
  await mkdir(folder);
  await installPacked(folder, (await packProject(join(folders, 'checkout'))).tarball);
  const main = join(folder, 'node_modules', 'entrepot', 'dist', 'main.js');
  Object.assign(t.context, { folders, folder, main });
});
test.after.always((t) => rm(t.context.folders, { recursive: true, force: true }));

/** The cloud that a provider asks, what leads its library there, and what the registry is then told. */
const CLOUDS = {
  ecr: {
    credentials: { provider: 'ecr', region: 'eu-central-1' },
    answer: () => ({ body: { authorizationData: [amazonToken()] } }),
    env: (cloud: FakeCloud) => ({ ...KEYS, AWS_ENDPOINT_URL_ECR: cloud.url }),
    user: 'AWS',
  },
  'ecr-public': {
    credentials: { provider: 'ecr-public' },
    answer: () => ({ body: { authorizationData: amazonToken() } }),
    env: (cloud: FakeCloud) => ({ ...KEYS, AWS_ENDPOINT_URL_ECR_PUBLIC: cloud.url }),
    user: 'AWS',
  },
  gcp: {
    credentials: { provider: 'gcp' },
    answer: () => ({
      headers: { 'metadata-flavor': 'Google' },
      body: { access_token: 'issued', expires_in: 3599, token_type: 'Bearer' },
    }),
    env: (cloud: FakeCloud) => ({ GCE_METADATA_HOST: cloud.host }),
    user: 'oauth2accesstoken',
  },
} as const;

for (const [provider, { credentials, answer, env, user }] of Object.entries(CLOUDS)) {
  test(`the package has what ${provider} needs: its password pulls an image`, async (t) => {
    const cloud = await FakeCloud.start(t, answer);
    const auth = { kind: 'basic' as const, username: user, password: 'issued' };
    const registry = await FakeRegistry.start(t, { auth });
    registry.addImage('app', 'v1', IMAGE);
    const mirror = await startPackage(t, {
      upstream: { url: registry.url, credentials: [credentials] },
      env: env(cloud),
    });
    await pull(t, mirror);
    t.true(cloud.requests.length > 0);
  });
}

test('the package has what acr needs: its token pulls an image', async (t) => {
  const azure = await startAzureRegistry(t);
  azure.auth.identityToken = refreshToken('first', Date.now() + 35 * MINUTES);
  azure.registry.addImage('app', 'v1', IMAGE);
  const cloud = await FakeCloud.start(t, () => ({
    body: {
      token_type: 'Bearer',
      access_token: 'aad.access.token',
      expires_in: 3600,
      expires_on: String(Math.floor(Date.now() / 1000) + 3600),
      resource: 'https://containerregistry.azure.net',
    },
  }));
  const mirror = await startPackage(t, {
    upstream: { url: azure.url, credentials: [{ provider: 'acr' }] },
    env: { AZURE_POD_IDENTITY_AUTHORITY_HOST: cloud.url },
  });
  await pull(t, mirror);
  t.is(azure.exchanges.length, 1);
});

test('the package asks a credential helper, serves over TLS, and tells a collector', async (t) => {
  const { ca, server } = await createCertificates();
  const folder = await createTempFolder(t);
  const [cert, key] = [join(folder, 'tls.crt'), join(folder, 'tls.key')];
  await writeFile(cert, server.cert);
  await writeFile(key, server.key);
  const helper = join(folder, 'docker-credential-site');
  await writeFile(helper, `#!/bin/sh\necho '{"Username":"me","Secret":"issued"}'\n`);
  await chmod(helper, 0o755);
  const auth = { kind: 'basic' as const, username: 'me', password: 'issued' };
  const registry = await FakeRegistry.start(t, { auth });
  registry.addImage('app', 'v1', IMAGE);
  const collector = await FakeCollector.start(t);
  const mirror = await startPackage(t, {
    upstream: { url: registry.url, credentials: [{ provider: 'helper', name: 'site' }] },
    config: {
      listen: { address: '127.0.0.1:0', tls: { cert, key } },
      tracing: { otlp: collector.url },
    },
    env: { PATH: `${folder}:/usr/bin:/bin` },
  });
  await pull(t, mirror, ca);
  t.is(await mirror.end('SIGTERM'), 0);
  t.true(collector.spans.some(({ name }) => name === 'GET manifest'));
});

test('doctor, a plan of sync and the list of images work from the package', async (t) => {
  const registry = await FakeRegistry.start(t);
  registry.addImage('app', 'v1', IMAGE);
  const folder = await createTempFolder(t);
  const rules = [{ image: `${UPSTREAM}/app`, tags: { regex: '^v\\d+$' } }];
  const upstream = { url: registry.url };
  const mirror = await startPackage(t, { folder, upstream, config: { sync: { rules } } });
  await pull(t, mirror);
  await mirror.end('SIGTERM');
  const run = async (...args: string[]): Promise<[number, unknown]> => {
    const { main } = t.context;
    const options = ['--json', '--config', join(folder, 'entrepot.yaml')];
    const child = spawn(process.execPath, [main, ...args, ...options], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
    return [Number(code), JSON.parse(output)];
  };
  t.like(await run('doctor'), [0]);
  t.like(await run('sync', 'plan'), [0]);
  t.regex(JSON.stringify(await run('ls')), /cloud\.example\/app/);
});

test('the package judges regular expressions', async (t) => {
  const cwd = await createTempFolder(t);
  const rule = { image: 'docker.io/library/app', tags: { regex: '^(a+)+$' } };
  await writeFile(join(cwd, 'entrepot.yaml'), JSON.stringify({ sync: { rules: [rule] } }));
  const args = [t.context.main, 'config', 'check'];
  const { status, stderr } = spawnSync(process.execPath, args, { cwd, encoding: 'utf8' });
  t.is(status, 78);
  t.regex(stderr, /catastrophic backtracking/);
});

test('a program is checked by the types of the admin API', async (t) => {
  const { folder } = t.context;
  const program = (field: string): string =>
    `import type { ServerStatus, StoreSummary, SyncPlan } from 'entrepot/api';
export const told = (status: ServerStatus): [string, keyof StoreSummary, keyof SyncPlan] =>
  [status.${field}, 'bytes', 'images'];
`;
  const check = async (field: string): Promise<[number | null, string]> => {
    const file = join(folder, `${field}.ts`);
    await writeFile(file, program(field));
    const options = ['--noEmit', '--strict', '--ignoreConfig', '--module', 'nodenext'];
    const compiler = join(PROJECT, 'node_modules', '.bin', 'tsc');
    const { status, stdout } = spawnSync(compiler, [...options, '--target', 'esnext', file], {
      cwd: folder,
      encoding: 'utf8',
    });
    return [status, stdout];
  };
  t.deepEqual(await check('version'), [0, '']);
  t.regex((await check('wersion'))[1], /'wersion' does not exist on type 'ServerStatus'/);
});

test('the licence of each package in the bundle is in the package', (t) => {
  const dist = join(t.context.main, '..');
  const told = readFileSync(join(dist, 'THIRD-PARTY.txt'), 'utf8');
  const listed = new Set(told.match(/^(@[\w.-]+\/)?[\w.-]+ \d[\w.+-]* \([^)]+\)+$/gm) ?? []);
  const names = new Set(
    Object.values(readBundle(t.context.folders)).flatMap(({ inputs }) =>
      Object.keys(inputs).flatMap((path) => packageOf(path) ?? []),
    ),
  );
  t.true(names.size > 50, 'the bundle says what is in it');
  const missing = [...names].filter(
    (name) => ![...listed].some((line) => line.startsWith(`${name} `)),
  );
  t.deepEqual(missing, []);
  t.false(/undefined/.test([...listed].join('\n')));
  const sections = told.split(`\n${'-'.repeat(80)}\n`).map((section) => section.trim());
  t.deepEqual(
    sections.filter((section) => !section.includes('\n\n')),
    [],
  );
});

/** What few use: packages, and modules of our own. */
const RARE = [
  '@aws-sdk/client-ecr',
  '@aws-sdk/client-ecr-public',
  '@azure/identity',
  'google-auth-library',
  '@opentelemetry/exporter-trace-otlp-proto',
  '@opentelemetry/sdk-trace',
  '@sigstore/core',
  '@sigstore/protobuf-specs',
  '@sigstore/verify',
  'tuf-js',
  '@noble/curves',
  'jose',
  'scslre',
  'refa',
  'tldts',
  'tar-stream',
  'streamx',
  'accepts',
  'smol-toml',
  'src/clients/clients.ts',
  'src/cli/bundle-create.ts',
  'src/cli/doctor.ts',
  'src/cli/status.ts',
  'src/cli/sync-plan.ts',
  'src/upstream/checkup/checkup.ts',
  'src/admission/notation/notation.ts',
  'src/admission/scanning.ts',
];

for (const [what, config] of Object.entries({
  'on defaults': async (): Promise<object> => ({}),
  'with access and admission': guardedConfig,
})) {
  test(`a mirror that nobody asks has not loaded what few use: ${what}`, async (t) => {
    const folder = await createTempFolder(t);
    const [hook, list] = [join(folder, 'hook.cjs'), join(folder, 'loaded')];
    await writeFile(hook, LOAD_HOOK);
    const mirror = await startPackage(t, {
      folder,
      upstream: { url: 'http://127.0.0.1:9' },
      config: await config(folder),
      env: { NODE_OPTIONS: `--require ${hook}`, LOADED: list },
    });
    t.true([200, 401].includes((await get(`${mirror.url}/v2/`)).status));
    const loaded = readFileSync(list, 'utf8');
    const bundle = Object.entries(readBundle(t.context.folders));
    const modulesOf = (files: typeof bundle): Set<string> =>
      new Set(
        files.flatMap(([, { inputs }]) =>
          Object.entries(inputs).flatMap(([path, { bytesInOutput }]) =>
            bytesInOutput > 0 ? (packageOf(path) ?? path) : [],
          ),
        ),
      );
    const shipped = modulesOf(bundle);
    t.deepEqual(
      RARE.filter((name) => !shipped.has(name)),
      [],
      'each is in the package',
    );
    const held = modulesOf(bundle.filter(([file]) => loaded.includes(`/${file}\n`)));
    t.true(held.has('koa') && held.has('src/http/app.ts'), 'what is loaded is seen');
    t.deepEqual(
      RARE.filter((name) => held.has(name)),
      [],
    );
    t.is(await mirror.end('SIGTERM'), 0);
    const ended = readFileSync(list, 'utf8');
    t.regex(ended, /^NativeModule http$/m);
    t.notRegex(ended, /^NativeModule .*undici/m, "Node's own fetch, of 16 MiB");
  });
}

/** Writes down each file that a process loads, and at its end which modules of Node it has. */
const LOAD_HOOK = `
  const { appendFileSync } = require('node:fs');
  require('node:module').registerHooks({
    load(url, context, next) {
      appendFileSync(process.env.LOADED, url + '\\n');
      return next(url, context);
    },
  });
  process.on('exit', () => {
    appendFileSync(process.env.LOADED, process.moduleLoadList.join('\\n') + '\\n');
  });
`;

async function guardedConfig(folder: string): Promise<object> {
  const [users, key] = [join(folder, 'htpasswd'), join(folder, 'signer.pub')];
  await writeFile(users, '');
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await writeFile(key, publicKey.export({ type: 'spki', format: 'pem' }));
  return {
    access: {
      htpasswd: { file: users },
      rules: [{ who: ['user:ci'], may: ['pull'], images: ['**'] }],
    },
    admission: {
      trust: { keys: { signer: { file: key } } },
      rules: [{ images: ['**'], mode: 'enforce', signedBy: [{ key: 'signer' }] }],
    },
  };
}

type Bundle = Readonly<
  Record<string, { readonly inputs: Readonly<Record<string, { readonly bytesInOutput: number }>> }>
>;

/** Which modules the files of the package have, as the build has written it down. */
function readBundle(folders: string): Bundle {
  const file = join(folders, 'checkout', '.cache', 'bundle.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { outputs: Bundle }).outputs;
}

function packageOf(path: string): string | undefined {
  return /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1];
}

test('the bill of materials lists the packages that the lock has for production, with their licences', (t) => {
  interface Component {
    readonly name: string;
    readonly version: string;
    readonly licenses?: readonly object[];
    readonly hashes: readonly { readonly alg: string; readonly content: string }[];
  }
  interface Bom {
    readonly bomFormat: string;
    readonly metadata: { readonly component: object };
    readonly components: readonly Component[];
  }
  const dist = join(t.context.main, '..');
  const bom = JSON.parse(readFileSync(join(dist, 'sbom.cdx.json'), 'utf8')) as Bom;
  t.is(bom.bomFormat, 'CycloneDX');
  const { version } = packageJson;
  t.like(bom.metadata.component, { type: 'application', name: 'entrepot', version });
  const lock = JSON.parse(readFileSync(join(PROJECT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string; dev?: boolean; integrity: string }>;
  };
  const locked = new Map<string, string>();
  for (const [path, { version, dev, integrity }] of Object.entries(lock.packages)) {
    if (path === '' || dev) continue;
    const sum = Buffer.from(integrity.replace('sha512-', ''), 'base64').toString('hex');
    locked.set(`${path.replace(/^.*node_modules\//, '')}@${version}`, sum);
  }
  const listed = bom.components.map(
    ({ name, version, hashes }) =>
      [`${name}@${version}`, hashes.find(({ alg }) => alg === 'SHA-512')?.content] as const,
  );
  t.deepEqual(
    listed.toSorted(([a], [b]) => (a < b ? -1 : 1)),
    [...locked].toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
  t.deepEqual(
    bom.components.filter(({ licenses = [] }) => licenses.length === 0),
    [],
  );
});

interface Started {
  readonly folder?: string;
  readonly upstream: object;
  readonly config?: object;
  readonly env?: Readonly<Record<string, string>>;
}

/** The installed package with nothing of this machine's clouds and proxies in its environment. */
async function startPackage(
  t: ExecutionContext<{ main: string }>,
  { folder, upstream, config = {}, env = {} }: Started,
): Promise<MirrorProcess> {
  const home = await createTempFolder(t);
  await symlink(process.execPath, join(home, 'node'));
  const { PATH = '' } = bareEnvironment();
  return MirrorProcess.start(
    t,
    folder ?? home,
    { upstreams: { [UPSTREAM]: upstream }, defaultUpstream: UPSTREAM, ...config },
    { program: [join(home, 'node'), t.context.main], env: { HOME: home, PATH, ...env } },
  );
}

async function pull(t: ExecutionContext, { url }: MirrorProcess, ca?: Buffer): Promise<void> {
  const options = ca ? { tls: { ca } } : {};
  const manifest = await get(`${url}/v2/app/manifests/v1`, options);
  t.true(manifest.body.equals(IMAGE.manifest.bytes), manifest.body.toString());
  for (const { digest, bytes } of IMAGE.blobs) {
    t.true((await get(`${url}/v2/app/blobs/${digest}`, options)).body.equals(bytes));
  }
}

function amazonToken(): object {
  const authorizationToken = Buffer.from('AWS:issued').toString('base64');
  return { authorizationToken, expiresAt: Date.now() / 1000 + 43_200 };
}

test('of all that is installed for development and production the database alone runs a script', (t) => {
  const { packages } = JSON.parse(readFileSync(join(PROJECT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { hasInstallScript?: boolean }>;
  };
  const scripted = Object.keys(packages).filter((path) => packages[path]?.hasInstallScript);
  t.deepEqual(scripted, ['node_modules/classic-level']);
});
