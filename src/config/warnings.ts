import type { Config } from './config.ts';
import { describeProblem } from './problems.ts';
import { isLoopback } from './proxy.ts';

/** What is legal and may still not be what the operator means. */
export function findWarnings({ upstreams }: Config): string[] {
  return Object.values(upstreams).flatMap(({ name, url, credentials, tls }) => {
    const warn = (key: string, text: string) => describeProblem(['upstreams', name, key], text);
    return [
      ...(tls.insecure
        ? [warn('tls.insecure', 'the certificate of this upstream is not checked')]
        : []),
      ...(credentials.length > 0 && isOpenToOthers(new URL(url))
        ? [warn('credentials', 'they go over the network unencrypted; use https')]
        : []),
    ];
  });
}

function isOpenToOthers(url: URL): boolean {
  return url.protocol === 'http:' && !isLoopback(url);
}
