import { statSync } from 'node:fs';
import type { Config } from './config.ts';
import { describeProblem } from './problems.ts';
import { TEXTS } from './texts.ts';

const READ_BY_OTHERS = 0o004;

/** Files of secrets that every user of this machine may read. */
export function findOpenFiles(config: Config): string[] {
  const { access, listen, admin, metrics, upstreams } = config;
  const files: (readonly [path: readonly (string | number)[], file: string | undefined])[] = [
    [['access', 'htpasswd', 'file'], access?.htpasswd?.file],
    ...(['oidc', 'kubernetes'] as const).flatMap((kind) =>
      (access?.[kind] ?? []).map(
        ({ jwks }, at) =>
          [
            ['access', kind, at, 'jwks', 'token'],
            'token' in jwks ? jwks.token.file : undefined,
          ] as const,
      ),
    ),
    [['listen', 'tls', 'key'], listen.tls?.key],
    [['admin', 'tls', 'key'], admin.tls?.key],
    [['metrics', 'listen', 'tls', 'key'], metrics?.listen?.tls?.key],
    ...Object.values(upstreams).flatMap(({ name, tls, credentials }) => [
      [['upstreams', name, 'tls', 'key'], tls.files?.key] as const,
      ...credentials.map(
        (account, at) =>
          [
            ['upstreams', name, 'credentials', at],
            'file' in account ? account.file : undefined,
          ] as const,
      ),
    ]),
  ];
  return files.flatMap(([path, file]) =>
    file !== undefined && isReadByOthers(file)
      ? [describeProblem(path, TEXTS.fileOpen({ path: file }))]
      : [],
  );
}

/** Links are followed, which others may always read. */
function isReadByOthers(file: string): boolean {
  const found = statSync(file, { throwIfNoEntry: false });
  return found?.isFile() === true && (found.mode & READ_BY_OTHERS) !== 0;
}
