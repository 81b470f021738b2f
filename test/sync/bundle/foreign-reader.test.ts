import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { extract } from 'tar-stream';
import { createFolder } from '../../config/config-folder.ts';
import { missingPackages, testUnless } from '../../helpers/needs.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { describe, MadeBundle, patterned } from './made-bundle.ts';

const run = promisify(execFile);
const test = testUnless('a foreign reader', missingPackages('openssl'));

interface Envelope {
  readonly payloadType: string;
  readonly payload: string;
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[];
}

test('tar-stream and openssl find in a part what docs/bundle-format.md says', async (t) => {
  const blobs = [patterned(3000), patterned(30_000)];
  const bundle = new MadeBundle({
    blobs,
    files: { 'root.json': Buffer.from('{}') },
    partBytes: 16_384,
  });
  const folder = createFolder(t, { 'maker.pub': bundle.key.public.format() });
  const content = new Map<string, Buffer>();
  for (const part of await bundle.all()) {
    const files = await unpack(part);
    const names = [...files.keys()];
    const [manifest, number, ...rest] = names;
    t.deepEqual(
      [manifest, number, rest.pop()],
      ['entrepot/manifest.json', 'entrepot/part.json', 'entrepot/trailer.json'],
    );
    const signed = await verify(folder, files.get('entrepot/manifest.json')!);
    t.deepEqual(JSON.parse(signed.toString()), bundle.manifest);
    const lines = rest.map((name) => {
      const bytes = files.get(name)!;
      return `${name} ${bytes.length} ${digestOf(bytes).slice('sha256:'.length)}\n`;
    });
    const trailer = await verify(folder, files.get('entrepot/trailer.json')!);
    const { part: place } = JSON.parse(files.get('entrepot/part.json')!.toString()) as {
      part: number;
    };
    t.deepEqual(JSON.parse(trailer.toString()), {
      bundle: describe(signed).digest,
      part: place,
      digest: digestOf(Buffer.from(lines.join(''))),
    });
    for (const name of rest) content.set(name, files.get(name)!);
  }
  // The pieces of a file stand in the order of their parts.
  const order = ['oci-layout', 'index.json', 'with/root.json'];
  order.push(...bundle.manifest.blobs.map(({ digest }) => `blobs/${digest.replace(':', '/')}`));
  for (const [entry, path] of order.entries()) {
    const pieces = [...content].filter(([name]) => name.startsWith(`slices/${entry}/`));
    const bytes = content.get(path) ?? Buffer.concat(pieces.map(([, piece]) => piece));
    const expected = path.startsWith('blobs/') ? path.slice('blobs/'.length).replace('/', ':') : '';
    if (expected !== '') t.is(String(digestOf(bytes)), expected);
    t.true(bytes.length > 0);
  }
  t.true([...content.keys()].some((name) => name.startsWith('slices/')));
});

/** The payload of an envelope, once openssl has verified it. */
async function verify(folder: string, bytes: Buffer): Promise<Buffer> {
  const { payloadType, payload, signatures } = JSON.parse(bytes.toString()) as Envelope;
  const body = Buffer.from(payload, 'base64');
  const head = `DSSEv1 ${payloadType.length} ${payloadType} ${body.length} `;
  await writeFile(join(folder, 'signed'), Buffer.concat([Buffer.from(head), body]));
  await writeFile(join(folder, 'sig'), Buffer.from(signatures[0]!.sig, 'base64'));
  const args = 'pkeyutl -verify -rawin -pubin -inkey maker.pub -sigfile sig -in signed';
  await run('openssl', args.split(' '), { cwd: folder });
  return body;
}

async function unpack(part: Buffer): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const tar = extract();
  tar.on('entry', ({ name }, stream, next) => {
    void Array.fromAsync(stream as AsyncIterable<Buffer>).then((chunks) => {
      files.set(name, Buffer.concat(chunks));
      next();
    });
  });
  await pipeline(Readable.from([part]), tar);
  return files;
}
