/** A store with a bit of everything, pulled through a real server, and the commands about it. */
import { EventEmitter } from 'node:events';
import type { ExecutionContext } from 'ava';
import { pino } from 'pino';
import { runCommand } from '../../src/cli/program.ts';
import { startPrivateAdmin } from '../../src/server.ts';
import { createFolder } from '../config/config-folder.ts';
import { claimPort } from '../helpers/claim-port.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import {
  buildArtifact,
  buildImage,
  descriptorOf,
  fallbackTag,
  MEDIA_TYPES,
  storeJson,
} from '../helpers/image.ts';
import { createTempFolder, startMirror, TEST_TIMING, type TestMirror } from '../helpers/mirror.ts';
import type { Result } from './run-main.ts';
import { clockOf } from '../helpers/clock.ts';

const DAY = 86_400_000;
export const NOON = Date.UTC(2026, 10, 21, 12);
export const UPSTREAM = 'hub.example';

const PLATFORMS = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));
const [amd64, arm64] = PLATFORMS.map((platform) =>
  buildImage({ seed: platform.architecture, layers: [40_000, 30_000], platform }),
) as [ReturnType<typeof buildImage>, ReturnType<typeof buildImage>];
const provenance = buildArtifact({ seed: 'provenance', artifactType: 'application/vnd.in-toto' });
const index = storeJson(
  {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.index,
    manifests: [
      { ...descriptorOf(amd64.manifest), platform: PLATFORMS[0] },
      { ...descriptorOf(arm64.manifest), platform: PLATFORMS[1] },
      {
        ...descriptorOf(provenance.manifest),
        platform: { os: 'unknown', architecture: 'unknown' },
        annotations: {
          'vnd.docker.reference.type': 'attestation-manifest',
          'vnd.docker.reference.digest': amd64.manifest.digest,
        },
      },
    ],
  },
  MEDIA_TYPES.index,
);
const signature = buildArtifact({
  seed: 'signature',
  artifactType: 'application/vnd.example.signature',
  subject: amd64.manifest,
});
const cosigned = buildImage({ seed: 'cosigned', layers: [70] });
const old = buildImage({ seed: 'old', layers: [50_000] });
const older = buildImage({ seed: 'older', layers: [20_000] });

export const WORLD = { index, amd64, arm64, provenance, signature, cosigned, old, older };

type Run = (...args: string[]) => Promise<Result>;

export interface LiveStore {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  /** As an operator does on the server's machine: with the server, or when it is stopped. */
  readonly run: Run;
  /** The same with another `store.path`. */
  readonly runAt: (storePath: string) => Run;
}

/** `org/app:v1` pulled in part 3 days ago, `org/old:v1` and `:v0` in whole 40 and 60 days ago. */
export async function startLiveStore(
  t: ExecutionContext,
  { isServed = true } = {},
): Promise<LiveStore> {
  const registry = await FakeRegistry.start(t);
  for (const image of [amd64, arm64, provenance, signature]) {
    registry.addImage('org/app', undefined, image);
  }
  registry.addManifest('org/app', index, { tags: ['v1', 'latest'] });
  registry.addImage('org/app', `${fallbackTag(amd64.manifest.digest)}.sig`, cosigned);
  registry.addImage('org/old', 'v1', old);
  registry.addImage('org/old', 'v0', older);
  const storePath = await createTempFolder(t);
  let now = NOON - 60 * DAY;
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  // Nobody else listens there while this one is stopped.
  const admin = { port: await claimPort() };
  const mirror = await startMirror(t, { storePath, upstreams, admin, clock: clockOf(() => now) });
  const pull = async (repository: string, ...paths: string[]): Promise<void> => {
    for (const path of paths) {
      const { status } = await get(`${mirror.url}/v2/${repository}/${path}`);
      t.is(status, 200, path);
    }
    await mirror.idle();
  };
  const blobsOf = ({ blobs }: typeof old): string[] => blobs.map(({ digest }) => `blobs/${digest}`);
  await pull('org/old', 'manifests/v0', ...blobsOf(older));
  now = NOON - 40 * DAY;
  await pull('org/old', 'manifests/v1', ...blobsOf(old));
  now = NOON - 3 * DAY;
  await pull('org/app', 'manifests/v1', 'manifests/latest');
  await pull('org/app', `manifests/${amd64.manifest.digest}`, ...blobsOf(amd64).slice(0, -1));
  for (const artifact of [provenance, signature]) {
    await pull('org/app', `manifests/${artifact.manifest.digest}`, ...blobsOf(artifact));
  }
  await pull('org/app', `manifests/${fallbackTag(amd64.manifest.digest)}.sig`);
  await pull('org/app', ...blobsOf(cosigned));
  now = NOON;
  if (!isServed) await mirror.stop();
  const runAt = (path: string): Run => commandsOf(t, { registry, mirror, storePath: path });
  return { registry, mirror, run: runAt(storePath), runAt };
}

function commandsOf(
  t: ExecutionContext,
  {
    registry,
    mirror,
    storePath,
  }: Pick<LiveStore, 'registry' | 'mirror'> & { readonly storePath: string },
): Run {
  const log = pino({ level: 'silent' });
  const yaml = [
    'listen: 127.0.0.1:0',
    `admin: ${new URL(mirror.server.adminUrl).host}`,
    `store: { path: ${storePath}, maxBytes: 1TiB, minFreeBytes: 0 }`,
    `defaultUpstream: ${UPSTREAM}`,
    `upstreams: { ${UPSTREAM}: { url: "${registry.url}", hydrate: false } }`,
  ].join('\n');
  return async (...args) => {
    const output = { stdout: '', stderr: '' };
    const context = {
      env: {},
      cwd: createFolder(t, {
        'entrepot.yaml': yaml,
        'in-use': '# none\norg/old:v0 # here\n',
        nothing: '[]',
      }),
      stdout: { write: (text: string) => (output.stdout += text) },
      stderr: { write: (text: string) => (output.stderr += text) },
      signals: new EventEmitter(),
      kill: () => t.fail('the command must not end the process'),
    };
    const options = { log, clock: clockOf(() => NOON), timing: TEST_TIMING };
    const code = await runCommand(args, context, {
      openLog: () => log,
      now: () => NOON,
      pause: async () => undefined,
      startPrivateAdmin: async (config, path) => startPrivateAdmin(config, path, options),
    });
    const { stdout, stderr } = output;
    return { code, stdout: stdout.replaceAll(mirror.storePath, 'STORE'), stderr };
  };
}
