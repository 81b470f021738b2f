import { readlinkSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import type { ExecutionContext } from 'ava';
import type { Stored } from '../helpers/image.ts';

type Call = 'read' | 'write' | 'writeFile';

/**
 * Makes reads from or writes to a file, by its path or the blob that it has, fail as those of a broken or full
 * disk do, so many times from now. Injected into Node's file handles: a real device of this kind needs a kernel
 * module that few machines have. The names of files come from /proc.
 */
export async function breakDisk(
  t: ExecutionContext,
  file: Stored | string,
  { call, times, code = 'EIO' }: { call: Call; times: number; code?: 'EIO' | 'ENOSPC' },
): Promise<void> {
  const handle = await open(import.meta.filename);
  const prototype = Object.getPrototypeOf(handle) as Record<Call, () => unknown>;
  await handle.close();
  const works = prototype[call];
  const [, name = ''] = typeof file === 'string' ? ['', file] : file.digest.split(':');
  let left = times;
  prototype[call] = async function broken(this: FileHandle, ...args: unknown[]) {
    if (left > 0 && readlinkSync(`/proc/self/fd/${this.fd}`).includes(name)) {
      left -= 1;
      throw Object.assign(new Error(`${code}: i/o error, ${call}`), { code, syscall: call });
    }
    return Reflect.apply(works, this, args) as unknown;
  };
  t.teardown(() => {
    prototype[call] = works;
  });
}
