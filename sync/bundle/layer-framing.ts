import { readAll } from '../../src/oci/content.ts';
import type { WholeContent } from './content-window.ts';

/** With what each of the frames begins that a layer is put together of; each is compressed on its own. */
export type Framing = Buffer;

const GZIP_MEMBER: Framing = Buffer.from([0x1f, 0x8b, 0x08, 0x00]);
const ZSTD_FRAME: Framing = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/** As stargz-snapshotter, and as containers/storage writes it now. */
const CHUNKED_MARKS = ['GnUlInUx', 'GNUlInUx'];
const STARGZ_MARK = 'STARGZ';
/** Behind the mark of eStargz: an empty block, and the end of its gzip member. */
const BEHIND_STARGZ_BYTES = 13;
const TAIL_BYTES = STARGZ_MARK.length + BEHIND_STARGZ_BYTES;

/**
 * Of zstd:chunked and eStargz, its first form too, which are told from the last bytes; other layers have
 * none. Where the frames begin is seen from the bytes of the layer: the tables of contents name fewer
 * places, and nothing has to hang on what stands in them.
 * @see https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md
 */
export async function framingOf(layer: WholeContent): Promise<Framing | undefined> {
  if (layer.size < TAIL_BYTES) return undefined;
  const reader = await layer.open({ start: layer.size - TAIL_BYTES, end: layer.size });
  try {
    const tail = (await readAll(reader, TAIL_BYTES)).toString('latin1');
    if (CHUNKED_MARKS.some((mark) => tail.endsWith(mark))) return ZSTD_FRAME;
    return tail.startsWith(STARGZ_MARK) ? GZIP_MEMBER : undefined;
  } finally {
    await reader.close();
  }
}
