import { BundleError } from '../../sync/bundle/bundle-error.ts';
import { collected } from '../../sync/bundle/young-buffers.ts';
import type { Ask } from './admin-client.ts';
import { AdminError } from './command-context.ts';
import { roundSize } from './format.ts';
import type { ProgressLine } from './progress-line.ts';
import { TEXTS } from './texts.ts';

/** A tar that is to be sent. */
export interface TarSource {
  readonly name: string;
  /** Bytes, where that is known. */
  readonly size?: number;
  readonly open: () => AsyncIterable<Uint8Array>;
}

/** A terminal that is far away takes no more than some hundred lines a second. */
const STEP_BYTES = 2 ** 20;

/** Sends a tar to this path, and resolves with the answer; what is wrong with it is told with its name. */
export async function sendTar(
  ask: Ask,
  path: string,
  { source, line, title = '' }: { source: TarSource; line?: ProgressLine; title?: string },
): Promise<unknown> {
  const { name, size } = source;
  const tar = counted(source.open(), (bytes) => {
    const of = size ? ` of ${roundSize(size)}` : '';
    line?.show(`${title}${roundSize(bytes)}${of}`, size ? bytes / size : undefined);
  });
  return describing(name, async () => ask(path, { method: 'POST', tar }));
}

async function* counted(
  source: AsyncIterable<Uint8Array>,
  came: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let [bytes, told] = [0, 0];
  for await (const chunk of collected(source)) {
    yield chunk;
    bytes += chunk.length;
    if (bytes - told < STEP_BYTES) continue;
    told = bytes;
    came(bytes);
  }
  came(bytes);
}

/** What is wrong with a file, also when it cannot be read, is told with its name. */
export async function describing<Value>(name: string, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall !== undefined) {
      const message = TEXTS.unreadableFile({ path: name, reason: code ?? syscall });
      throw new AdminError(message, { cause: error });
    }
    const isTold = error instanceof BundleError || error instanceof AdminError;
    if (!isTold) throw error;
    const fault =
      error instanceof AdminError ? { status: error.status, cause: error } : { cause: error };
    throw new AdminError(TEXTS.ofFile({ name, reason: error.message }), fault);
  }
}
