import { brotliCompressSync, constants } from 'node:zlib';
import test from 'ava';
import { assert, asyncProperty } from 'fast-check';
import { digestOf as digestOfBytes } from '../../../src/oci/digest.ts';
import type { Tag } from '../../../src/oci/reference.ts';
import { BundleError } from '../../../sync/bundle/bundle-error.ts';
import { decodeCbor, encodeCbor } from '../../../sync/bundle/cbor.ts';
import type { Inventory, SiteImage } from '../../../sync/bundle/inventory.ts';
import {
  decodeInventory,
  encodeInventory,
  MAX_INVENTORY_BYTES,
} from '../../../sync/bundle/inventory-file.ts';
import { MemberMask } from '../../../sync/bundle/member-mask.ts';
import { SigningKey } from '../../../sync/bundle/signing-key.ts';
import { anyInventory } from './any-inventory.ts';
import { attachedTag, digestOf, NOTHING_HELD, SERIES, SITE } from './made-inventory.ts';

const KEY = SigningKey.generate('ed25519');
const SIGNED_AS = 'application/vnd.entrepot.inventory.v1+cbor\n';
const FORM =
  'this is no inventory of entrepot, or it is damaged: make one at the site with "entrepot inventory", and copy it again';
const SIGNATURE = 'this inventory was damaged or changed on its way: copy it again from the site';

const [whole, part, untagged] = [
  digestOf('whole'),
  digestOf('part'),
  digestOf('untagged', 'sha512'),
];
const SMALL: Inventory = {
  site: SITE,
  applied: new Map([[SERIES, 7]]),
  complete: new Set([whole, untagged]),
  partial: new Map([[part, MemberMask.of([true, false, true])]]),
  blobs: new Set([digestOf('blob')]),
  images: [
    { name: 'docker.io/library/app', tag: 'v1' as Tag, digest: whole },
    { name: 'docker.io/library/app', digest: untagged },
    { name: 'docker.io/library/app', tag: attachedTag(whole, '.sig'), digest: part },
  ],
};

/** What counts of an inventory, in an order that does not depend on how it was made. */
function plain({ site, applied, complete, partial, blobs, images }: Inventory) {
  return {
    site,
    applied: [...applied].map((each) => each.join(' ')).toSorted(),
    complete: [...complete].toSorted(),
    partial: [...partial].map(([digest, { bytes }]) => [digest, ...bytes!].join(' ')).toSorted(),
    blobs: [...blobs].toSorted(),
    images: images.map(({ name, tag = '', digest }) => `${name}:${tag}@${digest}`).toSorted(),
  };
}

async function refusal(bytes: Uint8Array): Promise<string> {
  return (await refusalOf(bytes))?.message ?? 'taken';
}

async function refusalOf(bytes: Uint8Array): Promise<BundleError | undefined> {
  try {
    await decodeInventory(bytes);
    return undefined;
  } catch (error) {
    if (!(error instanceof BundleError) || error.code !== 'inventory') throw error;
    return error;
  }
}

/** What was wrong, in the words of whoever found it. */
async function causeOf(bytes: Uint8Array): Promise<NodeJS.ErrnoException> {
  return (await refusalOf(bytes))?.cause as Error;
}

test('what is written is read again, and in whatever order it was, it is the same bytes', async (t) => {
  await assert(
    asyncProperty(anyInventory, async (made) => {
      const bytes = await encodeInventory(made, KEY);
      const read = await decodeInventory(bytes);
      t.deepEqual(plain(read), plain(made));
      t.deepEqual([read.digest, read.key.id], [digestOfBytes(bytes), KEY.public.id]);
      t.deepEqual(await encodeInventory(read, KEY), bytes);
      const turned = {
        ...made,
        images: made.images.toReversed(),
        blobs: new Set([...made.blobs].toReversed()),
        complete: new Set([...made.complete].toReversed()),
      };
      t.deepEqual(await encodeInventory(turned, KEY), bytes);
    }),
    { numRuns: 50 },
  );
});

test('an inventory is signed with P-256 where the site has such a key', async (t) => {
  const key = SigningKey.generate('p256');
  const read = await decodeInventory(await encodeInventory(SMALL, key));
  t.deepEqual([read.key.id, plain(read)], [key.public.id, plain(SMALL)]);
});

test('every byte that is missing, too many or wrong is found', async (t) => {
  for (const algorithm of ['ed25519', 'p256'] as const) {
    const bytes = await encodeInventory(SMALL, SigningKey.generate(algorithm));
    const known = [FORM, SIGNATURE];
    for (let at = 0; at < bytes.length; at += 1) {
      t.true(known.includes(await refusal(bytes.subarray(0, at))), `cut at ${at}`);
      const flipped = Buffer.from(bytes);
      flipped[at]! ^= 1 << (at % 8);
      t.true(known.includes(await refusal(flipped)), `flipped at ${at}`);
    }
    t.is(await refusal(Buffer.concat([bytes, Buffer.alloc(1)])), FORM);
  }
});

test('a key in another form than its own is refused', async (t) => {
  for (const algorithm of ['ed25519', 'p256'] as const) {
    for (let made = 0; made < 20; made += 1) {
      const bytes = await encodeInventory(NOTHING_HELD, SigningKey.generate(algorithm));
      const [payload, der, signature] = decodeCbor(bytes) as [Buffer, Buffer, Buffer];
      // All but the point: what kind of key it is, and how the point is written.
      const end = der.length - (algorithm === 'p256' ? 64 : 32);
      for (let bit = 0; bit < end * 8; bit += 1) {
        const flipped = Buffer.from(der);
        flipped[bit >>> 3]! ^= 1 << (bit & 7);
        const told = await refusal(encodeCbor([payload, flipped, signature]));
        t.true([FORM, SIGNATURE].includes(told), `${algorithm}, bit ${bit}: ${told}`);
      }
    }
  }
});

test('what another key has signed is not the word of this one', async (t) => {
  const [payload, , signature] = decodeCbor(await encodeInventory(SMALL, KEY)) as Uint8Array[];
  const other = SigningKey.generate().public.der;
  t.is(await refusal(encodeCbor([payload, other, signature])), SIGNATURE);
  // Signed for another purpose, or for none.
  t.is(await refusal(encodeCbor([payload, KEY.public.der, KEY.sign(payload!)])), SIGNATURE);
});

/** The payload of `SMALL` with some of its members changed, and signed. */
async function forge(changes: Readonly<Record<string, unknown>>): Promise<string> {
  return refusal(await forged(changes));
}

async function forged(changes: Readonly<Record<string, unknown>>): Promise<Buffer> {
  const [payload] = decodeCbor(await encodeInventory(SMALL, KEY)) as Uint8Array[];
  const members = decodeCbor(payload!) as Map<string, unknown>;
  for (const [member, value] of Object.entries(changes)) {
    if (value === undefined) members.delete(member);
    else members.set(member, value);
  }
  return signed(encodeCbor(members));
}

function signed(payload: Uint8Array): Buffer {
  const signature = KEY.sign(Buffer.concat([Buffer.from(SIGNED_AS), payload]));
  return encodeCbor([payload, KEY.public.der, signature]);
}

function packed(text: string): Buffer {
  return brotliCompressSync(Buffer.from(text));
}

const NAMES = 'docker.io/library/app @ #1.sig v1';
const sha256 = (...seeds: readonly string[]): Buffer =>
  Buffer.concat(seeds.map((seed) => Buffer.from(digestOf(seed).slice(7), 'hex')));
const sha512 = Buffer.from(untagged.slice(7), 'hex');

test('what is signed and not what a site writes is refused', async (t) => {
  const sound = { names: packed(NAMES), manifests: [sha256('part', 'whole'), sha512] };
  t.is(await forge(sound), 'taken');
  const table: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
    'a member more': { more: 1 },
    'a member less': { blobs: undefined },
    'a site without an id': { site: 'here' },
    'a series without an id': { applied: new Map([['docker.io', 1]]) },
    'a number that is none': { applied: new Map([[SERIES, 0]]) },
    'a number of another kind': { applied: new Map([[SERIES, '1']]) },
    'numbers of another kind': { applied: 1 },
    'half a digest': { blobs: [sha256('blob').subarray(1), Buffer.alloc(0)] },
    'a digest twice': { blobs: [sha256('blob', 'blob'), Buffer.alloc(0)] },
    'digests of a third kind': { blobs: [sha256('blob'), Buffer.alloc(0), Buffer.alloc(0)] },
    'digests in another order': { manifests: [sha256('whole', 'part'), sha512] },
    'too few masks': { masks: packed('\0\0\0\0') },
    'too many masks': { masks: packed('\0\0\0\0\0\0\0\0') },
    'half a mask': { masks: packed('\0\0\0\0\0\x05') },
    'a mask with zeros at its end': { masks: packed('\0\0\0\0\0\x02\0') },
    'bytes that are not compressed': { masks: Buffer.from('masks') },
    'no bytes': { masks: 'masks' },
    'half a place': { places: packed('\0\0\0') },
    'a place of nothing': { places: packed(`${'\0'.repeat(9)}\x02\x00\x03`) },
    'more places than names': { places: packed('\0'.repeat(16)) },
    'fewer places than names': { places: packed('\0'.repeat(8)) },
    'a tag twice': { names: packed(NAMES.replace('#1.sig', 'v1')) },
    'tags in another order': { names: packed('docker.io/library/app @ v1 #1.sig') },
    'a tag that is none': { names: packed(NAMES.replace('v1', '-')) },
    'a tag after no manifest': { names: packed(NAMES.replace('#1', '#4')) },
    'a tag after a manifest, written in another way': { names: packed(NAMES.replace('#1', '#01')) },
    'a name that is none': { names: packed(NAMES.replace('library', 'Library')) },
    'a name without tags': { names: packed(`a/b\n${NAMES}`) },
    'a name on two lines': { names: packed(NAMES.replace(' v1', '\ndocker.io/library/app v1')) },
    'names that end in an empty line': { names: packed(`${NAMES}\n`) },
    'names that are no text': { names: brotliCompressSync(Buffer.from([0xff])) },
  };
  for (const [what, changes] of Object.entries(table)) t.is(await forge(changes), FORM, what);
  t.is(
    await forge({ format: 2 }),
    'this inventory is of another version (2): read it with a newer version of entrepot',
  );
});

test('a payload of another form than its own is refused', async (t) => {
  const [members] = decodeCbor(await encodeInventory(SMALL, KEY)) as Uint8Array[];
  const payload = Buffer.from(members!);
  t.is(await refusal(signed(payload)), 'taken');
  const forms: Readonly<Record<string, Uint8Array>> = {
    'no map': encodeCbor([1]),
    nothing: Buffer.alloc(0),
    'more behind its end': Buffer.concat([payload, Buffer.alloc(1)]),
    'a map without a length': Buffer.concat([
      Buffer.of(0xbf),
      payload.subarray(1),
      Buffer.of(0xff),
    ]),
    'a length that is longer than need be': Buffer.concat([
      Buffer.of(0xb8, 8),
      payload.subarray(1),
    ]),
    'lists in lists': Buffer.alloc(9_000, 0x81),
    'a number in another form': Buffer.from(
      payload.toString('latin1').replace('format\x01', 'format\xf9\x3c\x00'),
      'latin1',
    ),
  };
  for (const [what, form] of Object.entries(forms)) t.is(await refusal(signed(form)), FORM, what);
  // The file itself.
  for (const document of [
    1,
    [],
    [payload],
    [payload, 1, 2],
    Array.from({ length: 4 }, () => payload),
  ]) {
    t.is(await refusal(encodeCbor(document)), FORM);
  }
});

test('what would fill the memory is refused before it does', async (t) => {
  const before = process.memoryUsage().rss;
  const params = { [constants.BROTLI_PARAM_QUALITY]: 5 };
  const bomb = brotliCompressSync(Buffer.alloc(65 * 2 ** 20), { params });
  t.true(bomb.length < 10_000);
  for (const member of ['names', 'masks', 'places']) {
    const { code } = await causeOf(await forged({ [member]: bomb }));
    t.is(code, 'ERR_BUFFER_TOO_LARGE', member);
  }
  const items = Buffer.concat([Buffer.of(0x9a, 0, 0xff, 0xff, 0xff), Buffer.alloc(2 ** 24)]);
  for (const each of [items, signed(items)]) {
    t.is((await causeOf(each)).message, 'it has more than 10000 items');
  }
  t.true(process.memoryUsage().rss - before < 600 * 2 ** 20);
  t.is(
    await refusal(Buffer.alloc(MAX_INVENTORY_BYTES + 1)),
    'this inventory is larger than 67108864 bytes: make bundles without one',
  );
});

test('an inventory of more than a million images is not written', async (t) => {
  const image: SiteImage = { name: 'docker.io/library/app', tag: 'v1' as Tag, digest: whole };
  const images = Array.from({ length: 1_000_001 }, () => image);
  const error = await t.throwsAsync(encodeInventory({ ...SMALL, images }, KEY));
  t.is(
    error?.message,
    'this inventory has more than 1000000 manifests, blobs or images, or too many series: make bundles without one',
  );
  const applied = new Map(
    Array.from({ length: 1001 }, (_, at) => [SERIES.slice(0, -4) + String(1000 + at), 1] as const),
  );
  await t.throwsAsync(encodeInventory({ ...SMALL, applied }, KEY), { instanceOf: BundleError });
  const most = new Map([...applied].slice(1));
  const read = await decodeInventory(
    await encodeInventory({ ...NOTHING_HELD, applied: most }, KEY),
  );
  t.is(read.applied.size, 1000);
});
