import { gzipSync, zstdCompressSync } from 'node:zlib';

/** A file in a layer. */
export interface LayerFile {
  readonly name: string;
  readonly bytes: Buffer;
  /** Seconds since 1970. */
  readonly modifiedAt?: number;
}

/** A layer and where its frames begin; the last ones are its table of contents and its footer. */
export interface FramedLayer {
  readonly bytes: Buffer;
  readonly frames: readonly Buffer[];
}

/**
 * As containers/storage writes zstd:chunked, with a frame for each header and for each content, but that
 * large files are not cut.
 */
export function chunkedLayer(files: readonly LayerFile[], mark = 'GNUlInUx'): FramedLayer {
  const frames = framesOf(files, (bytes) => zstdCompressSync(bytes));
  const position = sizeOf(frames) + 8;
  const json = tableOf(files, frames);
  const table = zstdCompressSync(json);
  const numbers = [
    position,
    table.length,
    json.length,
    1,
    ...(mark === 'GNUlInUx' ? [0, 0, 0] : []),
  ];
  const footer = Buffer.concat([Buffer.alloc(8 * numbers.length), Buffer.from(mark)]);
  for (const [index, value] of numbers.entries()) footer.writeBigUInt64LE(BigInt(value), 8 * index);
  return layerOf([...frames, skippable(table), skippable(footer)]);
}

/**
 * As stargz-snapshotter writes eStargz; its header of a file is in one member with the content before.
 * @see https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md
 */
export function stargzLayer(
  files: readonly LayerFile[],
  { isFirstForm = false } = {},
): FramedLayer {
  const members = membersOf(files);
  const position = sizeOf(members);
  const json = tableOf(files, members);
  const table = gzipSync(
    Buffer.concat([...entryOf({ name: 'stargz.index.json', bytes: json }), Buffer.alloc(1024)]),
  );
  const mark = Buffer.from(`${position.toString(16).padStart(16, '0')}STARGZ`);
  const head = isFirstForm ? [] : [...Buffer.from('SG'), mark.length, 0];
  const footer = Buffer.concat([
    Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, head.length + mark.length, 0, ...head]),
    mark,
    Buffer.from([1, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]),
  ]);
  return layerOf([...members, table, footer]);
}

/** The bytes of a tar that has these files. */
export function tarOf(files: readonly LayerFile[]): Buffer {
  return Buffer.concat([...files.flatMap(entryOf), Buffer.alloc(1024)]);
}

function framesOf(files: readonly LayerFile[], compress: (bytes: Buffer) => Buffer): Buffer[] {
  const parts = [...files.flatMap(entryOf), Buffer.alloc(1024)];
  return parts.map((part) => compress(part));
}

function membersOf(files: readonly LayerFile[]): Buffer[] {
  const parts = [...files.flatMap(entryOf), Buffer.alloc(1024)];
  const [first = Buffer.alloc(0), ...rest] = parts;
  const members = [first];
  for (let at = 0; at < rest.length; at += 2) members.push(Buffer.concat(rest.slice(at, at + 2)));
  return members.map((member) => gzipSync(member));
}

/** Its header and its padded content. */
function entryOf({ name, bytes, modifiedAt = 0 }: LayerFile): [Buffer, Buffer] {
  const header = Buffer.alloc(512);
  const octal = (value: number, at: number, width: number): void => {
    header.write(value.toString(8).padStart(width - 1, '0'), at);
  };
  header.write(name, 0);
  octal(0o644, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(bytes.length, 124, 12);
  octal(modifiedAt, 136, 12);
  header.write('        0', 148);
  header.write('ustar\u000000', 257);
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return [header, Buffer.concat([bytes, Buffer.alloc(-bytes.length & 511)])];
}

function tableOf(files: readonly LayerFile[], frames: readonly Buffer[]): Buffer {
  const isPaired = frames.length === 2 * files.length + 1;
  const entries = files.map(({ name, bytes }, index) => ({
    type: 'reg',
    name,
    size: bytes.length,
    offset: sizeOf(frames.slice(0, isPaired ? 2 * index + 1 : index + 1)),
  }));
  return Buffer.from(JSON.stringify({ version: 1, entries }));
}

function layerOf(frames: readonly Buffer[]): FramedLayer {
  return { bytes: Buffer.concat(frames), frames };
}

function skippable(bytes: Buffer): Buffer {
  const head = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
  head.writeUInt32LE(bytes.length, 4);
  return Buffer.concat([head, bytes]);
}

function sizeOf(frames: readonly Buffer[]): number {
  return frames.reduce((sum, frame) => sum + frame.length, 0);
}
