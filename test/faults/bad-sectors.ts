import { readlinkSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import type { ExecutionContext } from 'ava';
import type { Stored } from '../helpers/image.ts';

/**
 * Makes reads from or writes to files of this blob fail as those of a broken disk do, so many
 * times from now. Injected into Node's file handles: a real device of this kind needs a kernel
 * module that few machines have. The names of files come from /proc.
 */
export async function breakDisk(
  t: ExecutionContext,
  blob: Stored,
  { call, times }: { call: 'read' | 'write'; times: number },
): Promise<void> {
  const handle = await open(import.meta.filename);
  const prototype = Object.getPrototypeOf(handle) as Record<'read' | 'write', () => unknown>;
  await handle.close();
  const works = prototype[call];
  const encoded = blob.digest.slice(blob.digest.indexOf(':') + 1);
  let left = times;
  prototype[call] = async function broken(this: FileHandle, ...args: unknown[]) {
    if (left > 0 && readlinkSync(`/proc/self/fd/${this.fd}`).includes(encoded)) {
      left -= 1;
      throw Object.assign(new Error(`EIO: i/o error, ${call}`), { code: 'EIO', syscall: call });
    }
    return Reflect.apply(works, this, args) as unknown;
  };
  t.teardown(() => {
    prototype[call] = works;
  });
}
