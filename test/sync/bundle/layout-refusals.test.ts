import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import test from 'ava';
import { buildImage, digestOf, randomBytes } from '../../helpers/image.ts';
import { createTempFolder } from '../../helpers/mirror.ts';
import { until } from '../../helpers/until.ts';
import {
  blobEntry,
  blobsOf,
  isLeftAlone,
  layoutOf,
  named,
  startSite,
  storedOf,
  tarOf,
  type Site,
  type TarEntry,
} from './layout-site.ts';

const app = buildImage({ seed: 'app', layers: [20_000, 2_000] });
const FILES = layoutOf([named(app.manifest)], blobsOf(app));
const EVIL = { name: 'evil', bytes: 'evil' };

/** Sets bytes of the header of the first entry, whose sum is right again then. */
async function withHeader(at: number, bytes: Buffer | string, entry: TarEntry = EVIL) {
  const tar = await tarOf([entry, ...FILES]);
  Buffer.from(bytes).copy(tar, at);
  tar.fill(' ', 148, 156);
  const sum = tar.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return tar;
}

const SIZE_AT = 124;
const TYPE_AT = 156;

function base256(first: number, ...last: number[]): Buffer {
  return Buffer.from([
    first,
    ...Array<number>(11 - last.length).fill(first === 0xff ? 0xff : 0),
    ...last,
  ]);
}

async function withEntry(entry: TarEntry): Promise<Buffer> {
  return tarOf([entry, ...FILES]);
}

const [layer] = app.layers;
const other = randomBytes('other', layer!.size);
const lying = storedOf(
  Buffer.from(app.manifest.bytes.toString().replace('20000', '19999')),
  app.manifest.mediaType,
);
const archive = (Config: string, Layers: readonly string[], ...more: TarEntry[]): TarEntry[] => [
  ...more,
  { name: 'manifest.json', bytes: JSON.stringify([{ Config, RepoTags: null, Layers }]) },
];
const config = `${app.config.digest.slice(7)}.json`;
const CONFIG = { name: config, bytes: app.config.bytes };

/** What comes, and what is said of it. */
const REFUSED: Readonly<Record<string, readonly [tar: () => Promise<Buffer> | Buffer, RegExp]>> = {
  'a name with two dots': [async () => withEntry({ ...EVIL, name: '../evil' }), /leads out of it/],
  'a name with dots in the middle': [
    async () => withEntry({ ...EVIL, name: 'blobs/../../evil' }),
    /leads out of it/,
  ],
  'an absolute name': [async () => withEntry({ ...EVIL, name: '/tmp/evil' }), /leads out of it/],
  'a name of Windows': [async () => withEntry({ ...EVIL, name: '..\\evil' }), /leads out of it/],
  'a name of PAX that leads out': [
    async () => withEntry({ ...EVIL, pax: { path: '../../evil' } }),
    /leads out of it/,
  ],
  'a hard link': [
    async () => withEntry({ name: 'x.tar', type: 'link', to: '/etc/passwd' }),
    /"x.tar" is a link, where a layout has files/,
  ],
  'a device': [
    async () => withEntry({ name: 'blobs/null', type: 'character-device' }),
    /is a character-device, where a layout has files/,
  ],
  'a pipe': [async () => withEntry({ name: 'pipe', type: 'fifo' }), /is a fifo/],
  'a link in the place of a blob': [
    async () => withEntry({ name: blobEntry(layer!).name, type: 'symlink', to: '../../other' }),
    /is a symlink, where a layout has files/,
  ],
  'a link that leads out': [
    async () => withEntry({ name: 'a/layer.tar', type: 'symlink', to: '../../../etc/passwd' }),
    /has a link "a\/layer.tar" to "..\/..\/..\/etc\/passwd", which leads out of it/,
  ],
  'a link to an absolute name': [
    async () => withEntry({ name: 'a/layer.tar', type: 'symlink', to: '/etc/passwd' }),
    /which leads out of it/,
  ],
  'a negative size': [async () => withHeader(SIZE_AT, base256(0xff, 0xfe)), /no tar, or a damaged/],
  'a size that is none': [async () => withHeader(SIZE_AT, 'zzzzzzzzzzz\0'), /no tar, or a damaged/],
  'a huge size': [
    async () => withHeader(SIZE_AT, base256(0x80, 0x7f, 0, 0, 0, 0, 0, 0, 0)),
    /says two sizes, or none that can be/,
  ],
  'a blob larger than the store': [
    async () => withHeader(SIZE_AT, base256(0x80, 1, 0, 0, 0, 0, 0, 0), blobEntry(layer!)),
    /the store does not take it: /,
  ],
  'another size in PAX': [
    async () => withEntry({ ...EVIL, pax: { size: '2' } }),
    /says two sizes, or none that can be/,
  ],
  'no number as the size of PAX': [
    async () => withEntry({ ...EVIL, pax: { size: '8e99' } }),
    /says two sizes, or none that can be/,
  ],
  'a sparse file by PAX': [
    async () => withEntry({ ...EVIL, pax: { 'GNU.sparse.size': '99999999' } }),
    /says two sizes, or none that can be/,
  ],
  'a sparse file by its type': [
    async () => withHeader(TYPE_AT, 'S'),
    /sparse file, or of an unknown/,
  ],
  'an entry twice': [async () => tarOf([...FILES, FILES[2]!]), /twice/],
  'a document twice': [async () => tarOf([...FILES, FILES[1]!]), /"index.json" twice/],
  'no tar': [() => randomBytes('noise', 5000), /no tar, or a damaged/],
  nothing: [() => Buffer.alloc(0), /neither an OCI layout nor a docker-archive/],
  'an empty tar': [async () => tarOf([]), /neither an OCI layout nor a docker-archive/],
  'a tar within a folder': [
    async () => tarOf(FILES.map((file) => ({ ...file, name: `app/${file.name}` }))),
    /neither an OCI layout nor a docker-archive/,
  ],
  'a tar by gzip': [
    async () => gzipSync(await tarOf(FILES)),
    /with "gzip -dc FILE \| entrepot bundle import - --as IMAGE"/,
  ],
  'a tar by zstd': [
    async () => zstdCompressSync(await tarOf(FILES)),
    /with "zstd -dc FILE \| entrepot bundle import - --as IMAGE"/,
  ],
  'a blob that is another one': [
    async () =>
      tarOf(FILES.map((file) => (file.bytes === layer!.bytes ? { ...file, bytes: other } : file))),
    new RegExp(`the bytes of ${layer!.digest} are ${digestOf(other)}: it is damaged`),
  ],
  'a layer that is missing': [
    async () => tarOf(FILES.filter(({ bytes }) => bytes !== layer!.bytes)),
    new RegExp(`${layer!.digest} is missing`),
  ],
  'a manifest that is missing': [
    async () => tarOf(FILES.filter(({ bytes }) => bytes !== app.manifest.bytes)),
    new RegExp(`${app.manifest.digest} is missing`),
  ],
  'a manifest with another size of a layer': [
    async () => tarOf(layoutOf([named(lying)], [lying, ...blobsOf(app)])),
    /has 20000 bytes and is listed with 19999/,
  ],
  'a manifest that is none': [
    async () => {
      const text = storedOf(Buffer.from('[]'), app.manifest.mediaType);
      return tarOf(layoutOf([named(text)], [text]));
    },
    /is no manifest that can be kept/,
  ],
  'an index without images': [async () => tarOf(layoutOf([], [])), /it lists no image/],
  'an index that is no JSON': [
    async () => tarOf([FILES[0]!, { name: 'index.json', bytes: '{' }]),
    /index.json is no manifest that can be kept/,
  ],
  'an index of a million brackets': [
    async () => tarOf([FILES[0]!, { name: 'index.json', bytes: '['.repeat(1_000_000) }]),
    /index.json is no manifest that can be kept/,
  ],
  'an index of more than 4 MiB': [
    async () => tarOf([FILES[0]!, { name: 'index.json', bytes: ' '.repeat(4_194_305) }]),
    /index.json has more than 4194304 bytes/,
  ],
  'a layout of another version': [
    async () =>
      tarOf([{ ...FILES[0]!, bytes: '{"imageLayoutVersion":"2.0.0"}' }, ...FILES.slice(1)]),
    /of another version \("2.0.0"\)/,
  ],
  'an archive that lacks a layer': [
    async () => tarOf(archive(config, ['a/layer.tar', 'b/layer.tar'], CONFIG)),
    /its manifest.json names "a\/layer.tar", which is missing/,
  ],
  'an archive whose links go round': [
    async () =>
      tarOf(
        archive(
          config,
          ['a/layer.tar', 'b/layer.tar'],
          CONFIG,
          { name: 'a/layer.tar', type: 'symlink', to: '../b/layer.tar' },
          { name: 'b/layer.tar', type: 'symlink', to: '../a/layer.tar' },
        ),
      ),
    /its manifest.json names "a\/layer.tar", which is missing/,
  ],
  'an archive with another config': [
    async () => tarOf(archive(config, [], { ...CONFIG, bytes: '{}' })),
    new RegExp(`the bytes of ${app.config.digest} are `),
  ],
  'an archive with too few layers': [
    async () => tarOf(archive(config, [], CONFIG)),
    /it has 0 layers and its config tells of 2/,
  ],
  'an archive with other layers': [
    async () =>
      tarOf(
        archive(
          config,
          ['b.tar', 'a.tar'],
          CONFIG,
          { name: 'a.tar', bytes: layer!.bytes },
          { name: 'b.tar', bytes: app.layer(1).bytes },
        ),
      ),
    new RegExp(`the bytes of ${layer!.digest} are ${app.layer(1).digest}`),
  ],
  'an archive with a list that is none': [
    async () => tarOf([{ name: 'manifest.json', bytes: '[{"Config":1}]' }]),
    /its manifest.json is none of a docker-archive/,
  ],
};

test('what is no sound image is refused, and nothing of it is left', async (t) => {
  const site = await startSite(t);
  for (const [name, [tar, said]] of Object.entries(REFUSED)) {
    const { status, error = '' } = await site.bring(await tar(), 'app:v1');
    t.is(status, name === 'a blob larger than the store' ? 507 : 422, `${name}: ${error}`);
    t.regex(error, said, name);
    await isLeftAlone(t, site, app, name);
  }
});

test('an upload that breaks off leaves nothing', async (t) => {
  const site = await startSite(t);
  const tar = await tarOf(FILES.toReversed());
  const abort = new AbortController();
  const chunks = async function* (): AsyncGenerator<Buffer> {
    yield tar.subarray(0, tar.length / 2);
    // The layer that is whole is here by then.
    await until('a blob', () => site.mirror.server.catalog.usage.blobs > 0);
    abort.abort();
  };
  const { signal } = abort;
  await t.throwsAsync(site.bring(Readable.from(chunks()), 'app:v1', { signal }));
  const { blobs } = site.mirror.server;
  await until('nothing', async () => (await Array.fromAsync(blobs.folders.list())).length === 0);
  await isLeftAlone(t, site, app, 'broken off');
});

test('who reads the answer only after all was sent has it all the same', async (t) => {
  const site = await startSite(t);
  const { hostname, port } = new URL(site.mirror.server.adminUrl);
  const socket = connect(Number(port), hostname);
  t.teardown(() => socket.destroy());
  const body = Buffer.alloc(32 * 2 ** 20, 'no tar');
  const head = [
    'POST /api/v1/bundles/layouts?image=app:v1 HTTP/1.1',
    `Host: ${hostname}`,
    'Content-Type: application/x-tar',
    `Content-Length: ${body.length}`,
  ];
  socket.write(`${head.join('\r\n')}\r\n\r\n`);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.write(body, (error) => (error ? reject(error) : resolve()));
  await promise;
  const [answer] = (await once(socket, 'data')) as [Buffer];
  t.regex(answer.toString(), /^HTTP\/1.1 422 /);
});

test('a server that stops in the middle of an upload keeps nothing of it', async (t) => {
  const storePath = await createTempFolder(t);
  const site = await startSite(t, { storePath });
  const tar = await tarOf(FILES.toReversed());
  const stopped = Promise.withResolvers<void>();
  const chunks = async function* (): AsyncGenerator<Buffer> {
    yield tar.subarray(0, tar.length / 2);
    await until('a blob', () => site.mirror.server.catalog.usage.blobs > 0);
    stopped.resolve(site.mirror.abandon());
    await stopped.promise;
  };
  await t.throwsAsync(site.bring(Readable.from(chunks()), 'app:v1'));
  await stopped.promise;
  await isLeftAlone(t, await startSite(t, { storePath }), app, 'stopped');
});

test('what is no upload of a tar for an image of this mirror is refused unread', async (t) => {
  const site = await startSite(t);
  const tar = await tarOf(FILES);
  const refused = async (...args: Parameters<Site['bring']>) => {
    const { status, error } = await site.bring(...args);
    return [status, error];
  };
  t.deepEqual(await refused(tar, 'ghcr.io/org/app:1'), [
    404,
    '"ghcr.io" is not an upstream of this mirror, which has hub.example; add it under "upstreams" in the configuration file',
  ]);
  t.deepEqual(await refused(tar, 'app*'), [
    400,
    '"app*" is not one image: write it as REPOSITORY:TAG or REPOSITORY@DIGEST',
  ]);
  t.deepEqual(await refused(tar, 'app:1', { type: 'application/json' }), [
    415,
    'a tar is sent with "Content-Type: application/x-tar"',
  ]);
});
