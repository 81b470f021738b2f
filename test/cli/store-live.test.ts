import { chmod, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { Stored } from '../helpers/image.ts';
import { blobPath, createTempFolder, startMirror } from '../helpers/mirror.ts';
import { NOON, startLiveStore, UPSTREAM, WORLD } from './live-store.ts';

const DAY = 86_400_000;
const { index, amd64, arm64, provenance, signature, cosigned, old, older } = WORLD;
const lines = (...texts: string[]): string => `${texts.join('\n')}\n`;
const said = (stdout: string) => ({ code: 0, stdout, stderr: '' });
const refused = (reason: string) => ({ code: 1, stdout: '', stderr: `entrepot: ${reason}\n` });
const short = ({ digest }: Stored): string => digest.slice(0, 'sha256:'.length + 12);
const size = (...blobs: readonly Stored[]): number =>
  blobs.reduce((sum, { size: bytes }) => sum + bytes, 0);

const [APP, V0, V1] = [
  `hub.example/org/app  latest, v1  ${short(index)}  43.5 KiB  43.5 KiB  2      3 days ago   partial, 29.3 KiB missing`,
  `hub.example/org/old  v0          ${short(older.manifest)}  20.3 KiB  20.3 KiB  1      60 days ago  complete`,
  `hub.example/org/old  v1          ${short(old.manifest)}  49.6 KiB  49.6 KiB  1      40 days ago  complete`,
];
const IMAGES =
  'IMAGE                TAGS        DIGEST               SIZE      OWN       PULLS  PULLED       STATE';
const GONE = 'IMAGE                TAGS        DIGEST               SIZE      PULLED       WHY';

const FROM = 'hub.example, 3 days ago';

/** Referrers of a subject come in the order of their digests, a tag's after those. */
const EXPLAINED = lines(
  'hub.example/org/app:latest, v1',
  `  digest   ${index.digest}`,
  '  type     application/vnd.oci.image.index.v1+json',
  '  state    partial, 29.3 KiB missing',
  '  size     43.5 KiB; without it there would be 43.5 KiB more room',
  '  stored   3 days ago',
  '  pulled   3 days ago',
  '  pulls    2',
  '  checked  latest 3 days ago',
  '  checked  v1 3 days ago',
  '',
  'MANIFEST             ROLE         PLATFORM         SIZE      STATE                     FROM',
  `${short(index)}  root                          1.16 KiB  held                      ${FROM}`,
  `${short(amd64.manifest)}  platform     linux/amd64      40.1 KiB  1 blob missing, 29.3 KiB  ${FROM}`,
  `${short(signature.manifest)}  referrer                      796 B     held                      ${FROM}`,
  `${short(cosigned.manifest)}  referrer                      880 B     held                      ${FROM}`,
  `${short(arm64.manifest)}  platform     linux/arm64      0 B       nobody asked for it`,
  `${short(provenance.manifest)}  attestation  unknown/unknown  587 B     held                      ${FROM}`,
);

const OLDER = {
  image: `${UPSTREAM}/org/old`,
  tags: ['v0'],
  digest: older.manifest.digest,
  mediaType: older.manifest.mediaType,
  bytes: size(older.manifest, ...older.blobs),
  ownBytes: size(older.manifest, ...older.blobs),
  lastPulledAt: NOON - 60 * DAY,
  pulls: 1,
  state: 'complete',
  missingBytes: 0,
  pins: [],
};

/** All of an image, as the upstream sent it. */
function heldOf({ manifest, blobs }: typeof older, storedAt: number) {
  return [manifest, ...blobs].map((blob) => ({
    digest: blob.digest,
    size: blob.size,
    storedAt,
    upstream: UPSTREAM,
  }));
}

const HELD = size(
  index,
  amd64.manifest,
  amd64.config,
  amd64.layer(0),
  ...[provenance, signature, cosigned, old, older].map(({ manifest }) => manifest),
  provenance.config,
  provenance.layer(0),
  signature.layer(0),
  ...[cosigned, old, older].flatMap(({ blobs }) => blobs),
);

for (const isServed of [true, false]) {
  const how = isServed ? 'of a running server' : 'that no server has open';
  test(`a store ${how}: what is held is listed and explained`, async (t) => {
    const { run } = await startLiveStore(t, { isServed });
    t.deepEqual(await run('ls'), said(lines(IMAGES, APP, V0, V1)));
    t.deepEqual(await run('ls', '--sort', 'oldest'), said(lines(IMAGES, V0, V1, APP)));
    t.deepEqual(await run('ls', '--sort', 'size'), said(lines(IMAGES, V1, APP, V0)));
    t.deepEqual(await run('ls', '*:v9'), said('nothing of *:v9 is held\n'));
    const listed = await run('ls', 'hub.example/*/*:v0', '--json');
    t.deepEqual(JSON.parse(listed.stdout), { images: [OLDER] });
    t.deepEqual(await run('explain', 'org/app:v1'), said(EXPLAINED));
    const explained = await run('explain', `${UPSTREAM}/org/old:v0`, '--json');
    const { digest, mediaType, bytes } = OLDER;
    const root = { digest, role: 'root', isHeld: true, isWanted: true, mediaType };
    t.deepEqual(JSON.parse(explained.stdout), {
      ...OLDER,
      manifests: [{ ...root, bytes, held: heldOf(older, NOON - 60 * DAY), missing: [] }],
      storedAt: NOON - 60 * DAY,
      tagsCheckedAt: { v0: NOON - 60 * DAY },
      partOf: [],
    });
    t.deepEqual(
      await run('explain', 'org/none'),
      refused('nothing of hub.example/org/none:latest is held'),
    );
    t.deepEqual(
      await run('explain', 'org/old'),
      refused(
        'nothing of hub.example/org/old:latest is held; of hub.example/org/old there is v0, v1',
      ),
    );
    t.deepEqual(
      await run('explain', 'ghcr.io/org/old'),
      refused(
        '"ghcr.io" is not an upstream of this mirror, which has hub.example; add it under "upstreams" in the configuration file',
      ),
    );
    const part = await run('explain', `org/app@${cosigned.manifest.digest}`, '--json');
    t.deepEqual((JSON.parse(part.stdout) as { partOf: unknown }).partOf, [amd64.manifest.digest]);
  });

  test(`a store ${how}: a pin keeps what would go first, and its image goes without it`, async (t) => {
    const { run } = await startLiveStore(t, { isServed });
    const first = `hub.example/org/old  v0    ${short(older.manifest)}  20.3 KiB  60 days ago  pulled longest ago`;
    const plan = ['gc', '--dry-run', '--bytes', '20KiB'];
    const would = lines(
      'would go: 1 image, 3 blobs, 20.3 KiB',
      '',
      GONE.replace('TAGS        ', 'TAGS  '),
      first,
    );
    t.deepEqual(await run(...plan), said(would));
    t.deepEqual(await run(...plan), said(would), 'nothing has gone');
    t.deepEqual(
      await run('pin', 'org/old:v0', '--reason', 'why'),
      said('pinned hub.example/org/old:v0\n'),
    );
    t.deepEqual(
      await run('pins'),
      said(
        lines(
          'IMAGE                   PINNED   SINCE     REASON',
          'hub.example/org/old:v0  by hand  just now  why',
        ),
      ),
    );
    t.deepEqual(
      await run('gc', '--bytes', '60KiB'),
      said(
        lines(
          'gone: 2 images, 15 blobs, 93.1 KiB',
          '',
          GONE,
          `hub.example/org/old  v1          ${short(old.manifest)}  49.6 KiB  40 days ago  pulled longest ago`,
          `hub.example/org/app  latest, v1  ${short(index)}  43.5 KiB  3 days ago   pulled longest ago`,
          '',
          'older, and kept:',
          'IMAGE                TAGS  DIGEST               WHY',
          `hub.example/org/old  v0    ${short(older.manifest)}  pinned (hand: why)`,
        ),
      ),
    );
    t.deepEqual(await run('unpin', 'org/old:v0'), said('unpinned org/old:v0\n'));
    t.deepEqual(await run('unpin', 'org/old:v0'), refused('org/old:v0 is not pinned by hand'));
    t.deepEqual(await run('pins'), said('nothing is pinned\n'));
    const gone = await run('gc', '--bytes', '1B', '--json');
    const { digest, bytes, lastPulledAt } = OLDER;
    t.deepEqual(JSON.parse(gone.stdout), {
      wantedBytes: 1,
      released: { images: 1, blobs: 3, bytes },
      images: [
        {
          image: OLDER.image,
          tags: ['v0'],
          digest,
          lastPulledAt,
          bytes,
          why: 'pulled longest ago',
        },
      ],
      kept: [],
    });
    t.deepEqual(await run('ls'), said('nothing is held\n'));
    t.deepEqual(await run('gc'), said('nothing has to go\n'));
  });

  test(`a store ${how}: of a pin it is said whether something of it is held`, async (t) => {
    const { run } = await startLiveStore(t, { isServed });
    const digest = older.manifest.digest;
    const [none, hint] = [': nothing of it is held yet', ' ("*" stops at a slash, "**" does not)'];
    for (const [image, more] of [
      ['hub.example/org/old', ''],
      ['hub.example/org/old:v1', ''],
      [`hub.example/org/old@${digest}`, ''],
      ['hub.example/**', ''],
      ['hub.example/*/old:v?', ''],
      ['hub.example/org/old@sha256:*', ''],
      ['hub.example/org/ol', none],
      ['hub.example/org/old:v9', none],
      [`hub.example/org/app@${digest}`, none],
      ['hub.example/*', `${none}${hint}`],
      ['ghcr.io/**', none],
    ] as const) {
      t.deepEqual(await run('pin', image), said(`pinned ${image}${more}\n`));
    }
  });

  test(`a store ${how}: a digest without its repository is explained by the image that has it`, async (t) => {
    const { run } = await startLiveStore(t, { isServed });
    const named = await run('explain', `hub.example/org/old@${old.manifest.digest}`);
    t.deepEqual(await run('explain', old.manifest.digest), named);
    t.deepEqual(await run('explain', old.layer(0).digest), named);
    const nowhere = `sha256:${'0'.repeat(64)}`;
    t.deepEqual(await run('explain', nowhere), refused(`nothing of ${nowhere} is held`));
  });

  test(`a store ${how}: what others pinned is not unpinned by hand, and they are named`, async (t) => {
    const { run } = await startLiveStore(t, { isServed });
    await run('pin', '--in-use', 'in-use', '--source', 'cluster-a');
    await run('pin', 'hub.example/**');
    t.deepEqual(
      await run('unpin', 'org/old:v0'),
      refused(
        'org/old:v0 is not pinned by hand, but in use by cluster-a as hub.example/org/old:v0, by another pin by hand as hub.example/**',
      ),
    );
  });

  test(`a store ${how}: what a cluster runs stays as long as its list says so`, async (t) => {
    const { run } = await startLiveStore(t, { isServed });
    const source = ['--source', 'cluster-a'];
    t.deepEqual(
      await run('pin', '--in-use', 'in-use', ...source),
      said('1 image pinned as in use by cluster-a\n'),
    );
    const pins = await run('pins', '--json');
    t.deepEqual(JSON.parse(pins.stdout), {
      pins: [{ origin: 'use:cluster-a', image: 'hub.example/org/old:v0', since: NOON }],
    });
    t.regex((await run('explain', 'org/old:v0')).stdout, /^ {2}pinned {3}in use by cluster-a as /m);
    t.regex(
      (await run('gc', '--dry-run', '--bytes', '1KiB')).stdout,
      / pinned \(use:cluster-a\)$/m,
    );
    t.deepEqual(
      await run('pin', '--in-use', '/dev/null', ...source),
      refused(
        'no entry names an image: what cluster-a had in use stays pinned; an empty list, [] as JSON, says that nothing is in use',
      ),
    );
    t.deepEqual(await run('pins', '--json'), pins);
    t.deepEqual(
      await run('pin', '--in-use', 'nothing', ...source),
      said('0 images pinned as in use by cluster-a\n'),
    );
    t.deepEqual(
      await run('pins', '--json'),
      said(`${JSON.stringify({ pins: [] }, undefined, 2)}\n`),
    );
  });

  test(`a store ${how}: damage is found, fetched again where that can be, and told`, async (t) => {
    const { run, mirror, registry } = await startLiveStore(t, { isServed });
    t.deepEqual(await run('verify'), said('18 blobs, 113 KiB in 1s: all as they should be\n'));
    const [here, lost] = [old.layer(0), older.layer(0)];
    for (const { digest, bytes } of [here, lost]) {
      const path = blobPath(mirror.storePath, digest);
      await chmod(path, 0o600);
      await writeFile(path, bytes.with(100, bytes[100]! ^ 1));
    }
    registry.remove(lost);
    const { code, stdout } = await run('verify', '--json');
    t.is(code, 1);
    const damage = { fault: 'damaged', images: ['hub.example/org/old'] };
    t.deepEqual(JSON.parse(stdout), {
      startedAt: NOON,
      endedAt: NOON,
      blobs: 18,
      // The last byte of a damaged one is not handed on.
      bytes: HELD - 2,
      damaged: [
        { digest: here.digest, ...damage, healed: true },
        {
          digest: lost.digest,
          ...damage,
          healed: false,
          reason: 'hub.example/org/old has it no more',
        },
      ].toSorted((a, b) => (a.digest < b.digest ? -1 : 1)),
    });
    t.deepEqual(await readFile(blobPath(mirror.storePath, here.digest)), here.bytes);
    t.regex((await run('ls', 'hub.example/*/*:v0')).stdout, /partial, 19\.5 KiB missing$/m);
  });
}

test('the catalog is made anew while no server runs, and never under one', async (t) => {
  const { run, mirror } = await startLiveStore(t);
  const { host } = new URL(mirror.server.adminUrl);
  t.deepEqual(
    await run('verify', '--rebuild'),
    refused(`a server runs at ${host}: stop the server first, then rebuild`),
  );
  await run('pin', 'org/old:v0', '--reason', 'why');
  const before = [await run('ls'), await run('explain', 'org/app:v1'), await run('pins')];
  await mirror.stop();
  t.deepEqual(
    await run('verify', '--rebuild'),
    said(
      'the catalog is made anew from the files: 4 images, 7 manifests, 5 tags, 18 blobs; when and how often images were pulled is lost, and counted from now on\n',
    ),
  );
  const forgotten = before.map(({ stdout, ...rest }) => {
    const none = stdout.replaceAll(/(?<=KiB {2}|pulls {4})[12](?=\s{2}|\n)/g, '0');
    return { ...rest, stdout: none.replaceAll(FROM, 'unknown') };
  });
  t.notDeepEqual(forgotten, before);
  const after = [await run('ls'), await run('explain', 'org/app:v1'), await run('pins')];
  t.deepEqual(after, forgotten);
});

test('a server of another store that has the address is not asked for this one', async (t) => {
  const { run, mirror, registry } = await startLiveStore(t);
  const { host, port } = new URL(mirror.server.adminUrl);
  const [listed, rebuilt] = [await run('ls'), /^the catalog is made anew from the files: 4 images/];
  await mirror.stop();
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  const other = await startMirror(t, { upstreams, admin: { port: Number(port) } });
  t.deepEqual(await run('ls'), listed);
  t.is((await run('pin', 'org/old:v0')).stdout, 'pinned hub.example/org/old:v0\n');
  t.deepEqual(other.server.store.care.pins.list(), []);
  t.regex((await run('verify', '--rebuild')).stdout, rebuilt);
  t.deepEqual(
    await run('status'),
    refused(
      `the server at ${host} has another store, ${other.storePath}: name its configuration with --config, or start one for ${mirror.storePath} at another admin address`,
    ),
  );
  const again = await startMirror(t, { upstreams, storePath: mirror.storePath });
  t.deepEqual(
    await run('ls'),
    refused(
      `the store ${mirror.storePath} is in use by another process (${process.pid}, its admin API is at ${again.server.adminUrl}); stop it, or set another store.path`,
    ),
  );
});

test('the server of a store is asked under whatever path that is mounted', async (t) => {
  const { runAt, run, mirror } = await startLiveStore(t);
  const mount = join(await createTempFolder(t), 'mount');
  await symlink(mirror.storePath, mount);
  t.deepEqual(await runAt(mount)('ls'), await run('ls'));
});

test('the status tells the store of a running server, and needs one', async (t) => {
  const { run, mirror } = await startLiveStore(t);
  const { host } = new URL(mirror.server.adminUrl);
  const status = await run('status');
  t.deepEqual(
    {
      ...status,
      stdout: status.stdout
        .replace(/^entrepot \S+,/, 'entrepot VERSION,')
        .replace(/, \S+ \S+ of its disk free/, ', FREE of its disk free'),
    },
    said(
      lines(
        'entrepot VERSION, up 60d, 0 downloads running',
        'store STORE: 18 blobs, 113 KiB of 1TiB, FREE of its disk free',
        '5.0% of 20 requests since the start were hits',
        '',
        'UPSTREAM     ACCOUNT    QUOTA          STATE',
        'hub.example  anonymous  no limit told  up',
      ),
    ),
  );
  await mirror.stop();
  const { code, stderr } = await run('status');
  t.is(code, 1);
  t.true(stderr.startsWith(`entrepot: no server answers at ${host} `));
});
