import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { toolPath } from '../clients/tools.ts';
import { Mirror } from './mirror.ts';
import { Netns } from './netns.ts';
import { Registry } from './registry.ts';
import { suite } from './suite.ts';

const run = suite('conformance');

const UPSTREAM_PORT = 5000;
const CUTTING_PORT = 5001;
const SPLITTING_PORT = 5002;
const MIRROR_PORT = 8080;
const REPOSITORIES = { OCI_REPO1: 'conformance/one', OCI_REPO2: 'conformance/two' };

/** What was deleted upstream stays held by digest, as a mirror promises: the program asks for a 404. */
const NO_DELETES = {
  OCI_API_BLOBS_DELETE: 'false',
  OCI_API_MANIFESTS_DELETE: 'false',
  OCI_API_TAGS_DELETE: 'false',
};

/** What no digest names is for the upstream to say: 504 while it is not asked, not 404. Of tags it told a list. */
const ONLY_UPSTREAM = ['', '/by-digest'].map(
  (part) => `OCI Conformance Test/missing-manifest${part}`,
);

run('cold: what passes at the upstream passes through the mirror', async (t) => {
  const world = await start(t);
  const upstream = await check(world, 'upstream', UPSTREAM_PORT, NO_DELETES);
  const mirror = await check(world, 'cold', SPLITTING_PORT, NO_DELETES);
  t.deepEqual(failedThere(mirror, upstream), []);
});

run('cut: the first answer to every question breaks off in the middle', async (t) => {
  const world = await start(t, CUTTING_PORT);
  const upstream = await check(world, 'upstream', UPSTREAM_PORT, NO_DELETES);
  const mirror = await check(world, 'cut', SPLITTING_PORT, NO_DELETES);
  t.deepEqual(failedThere(mirror, upstream), []);
});

run('warm and offline: what was pulled before passes as it does at the upstream', async (t) => {
  const world = await start(t);
  await check(world, 'fill', SPLITTING_PORT, NO_DELETES);
  const held = await readOnly(world);
  const upstream = await check(world, 'upstream', UPSTREAM_PORT, held);
  t.deepEqual(failedThere(await check(world, 'warm', MIRROR_PORT, held), upstream), []);

  await world.registry.service.stop('SIGKILL');
  t.deepEqual(failedThere(await check(world, 'away', MIRROR_PORT, held), upstream), ONLY_UPSTREAM);
  await world.mirror.restart({ ...world.settings, offline: true }, 'SIGTERM');
  const offline = await check(world, 'offline', MIRROR_PORT, held);
  t.deepEqual(failedThere(offline, upstream), ONLY_UPSTREAM);
});

interface World {
  readonly netns: Netns;
  readonly registry: Registry;
  readonly mirror: Mirror;
  readonly settings: object;
}

/** A registry, the mirror before it (which meets it at `port`), and a way to push past the mirror. */
async function start(t: ExecutionContext, port = UPSTREAM_PORT): Promise<World> {
  t.timeout(240_000);
  const netns = await Netns.create();
  t.teardown(async () => netns.close());
  const data = join(netns.directory, 'registry');
  const registry = await Registry.start(netns, { name: 'registry', port: UPSTREAM_PORT, data });
  await startProxy(netns, 'cutting-proxy', CUTTING_PORT, UPSTREAM_PORT);
  // What is pushed past the mirror is there at the next request.
  const tags = { ttl: '0s', negativeTtl: '0s' };
  const upstream = { url: `http://127.0.0.1:${port}`, hydrate: false, tags };
  const settings = { defaultUpstream: 'registry.test', upstreams: { 'registry.test': upstream } };
  const mirror = await Mirror.start(netns, settings);
  await startProxy(netns, 'splitting-proxy', SPLITTING_PORT, MIRROR_PORT, UPSTREAM_PORT);
  t.teardown(async () => {
    if (!t.passed) t.log(await mirror.log());
  });
  return { netns, registry, mirror, settings };
}

async function startProxy(netns: Netns, name: string, ...ports: readonly number[]): Promise<void> {
  const file = join(import.meta.dirname, `${name}.ts`);
  const proxy = await netns.start(name, process.execPath, file, ...ports.map(String));
  await netns.listening(proxy, ports[0]!);
}

type Counts = ReadonlyMap<string, { readonly passed: number; readonly failed: number }>;

/** How often each test of the conformance program passed and failed at the registry on `port`. */
async function check(
  { netns }: World,
  name: string,
  port: number,
  settings: Readonly<Record<string, string>>,
): Promise<Counts> {
  const variables = {
    OCI_REGISTRY: `127.0.0.1:${port}`,
    OCI_TLS: 'disabled',
    OCI_RESULTS_DIR: join(netns.directory, name),
    ...REPOSITORIES,
    ...settings,
  };
  const assignments = Object.entries(variables).map(([key, value]) => `${key}=${value}`);
  // It exits with another code than 0 where a test failed, and where it was told not to push.
  const command = ['env', ...assignments, toolPath('conformance')];
  const report = await netns.run('sh', '-c', '"$@" || true', 'sh', ...command);
  const counts = new Map<string, { passed: number; failed: number }>();
  for (const [, test, status] of report.matchAll(/^ *(OCI [^:]+): (Pass|FAIL|Error)$/gm)) {
    const count = counts.getOrInsertComputed(test!, () => ({ passed: 0, failed: 0 }));
    count[status === 'Pass' ? 'passed' : 'failed'] += 1;
  }
  return counts;
}

/** The tests that passed less often, or failed more often, than at the upstream. */
function failedThere(mirror: Counts, upstream: Counts): string[] {
  const hasPassed = [...upstream.values()].some(({ passed }) => passed > 0);
  if (!hasPassed) return ['no test passed at the upstream'];
  const worse = [...upstream].filter(([test, { passed, failed }]) => {
    const there = mirror.get(test);
    return there === undefined || there.failed > failed || there.passed < passed;
  });
  return worse.map(([test]) => test);
}

/** What the program asks for where it may not push: all that the first repository has. */
async function readOnly({ mirror }: World): Promise<Record<string, string>> {
  const path = `/v2/${REPOSITORIES.OCI_REPO1}`;
  const [list] = await mirror.ask(`GET ${path}/tags/list`);
  const { tags } = JSON.parse(list!.body) as { readonly tags: readonly string[] };
  const answers = await mirror.ask(...tags.map((tag) => `GET ${path}/manifests/${tag}`));
  const digests = answers.map(({ headers }) => headers['docker-content-digest']!);
  const blobs = answers.flatMap(({ body }) => {
    const { config, layers = [] } = JSON.parse(body) as {
      readonly config?: { readonly digest: string };
      readonly layers?: readonly { readonly digest: string }[];
    };
    return [...(config ? [config] : []), ...layers].map(({ digest }) => digest);
  });
  return {
    OCI_API_PUSH: 'false',
    ...NO_DELETES,
    OCI_RO_DATA_TAGS: tags.join(' '),
    OCI_RO_DATA_MANIFESTS: digests.join(' '),
    OCI_RO_DATA_BLOBS: [...new Set(blobs)].join(' '),
    OCI_RO_DATA_REFERRERS: digests.join(' '),
  };
}
