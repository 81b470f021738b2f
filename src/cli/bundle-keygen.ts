import { existsSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { SigningKey } from '../../sync/bundle/signing-key.ts';
import type { KeyAlgorithm } from '../../sync/bundle/trusted-key.ts';
import {
  EXIT_CODE,
  print,
  UsageError,
  type CommandContext,
  type CommandOptions,
} from './command-context.ts';
import { formatLabelled } from './format.ts';
import { touchFile } from './touch-file.ts';
import { TEXTS } from './texts.ts';

interface KeygenOptions extends CommandOptions {
  readonly out: string;
  readonly algorithm: KeyAlgorithm;
}

/** Makes a key pair in two files that were not there, the private one for this user alone. */
export function generateKey(options: KeygenOptions, context: CommandContext): number {
  const path = resolve(context.cwd, options.out);
  const publicPath = `${path}.pub`;
  for (const each of [path, publicPath]) {
    if (existsSync(each)) throw new UsageError(TEXTS.keyThere({ path: each }));
  }
  const key = SigningKey.generate(options.algorithm);
  write(path, key.format(), 0o600);
  write(publicPath, key.public.format(), 0o644);
  const { algorithm } = options;
  const { id } = key.public;
  print(options, context, { id, algorithm, key: path, publicKey: publicPath }, (columns) =>
    [
      formatLabelled('key     ', id, columns),
      formatLabelled('private ', TEXTS.keyPrivate({ path }), columns),
      formatLabelled('public  ', TEXTS.keyPublic({ path: publicPath }), columns),
    ].join(''),
  );
  return EXIT_CODE.ok;
}

/** Never over a file that came there meanwhile. */
function write(path: string, text: string, mode: number): void {
  touchFile(() => writeFileSync(path, text, { mode, flag: 'wx' }), path, TEXTS.keyUnwritable);
}
