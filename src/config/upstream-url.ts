import { ConfigError } from './config-error.ts';

/**
 * The base of an upstream's endpoints, without a trailing slash. Throws a `ConfigError` that says
 * what to write and repeats nothing of the URL, which may hold a password.
 */
export function parseUpstreamUrl(text: string): string {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new ConfigError(['write a URL that begins with https:// or http://']);
  }
  if (url.username !== '' || url.password !== '') {
    throw new ConfigError([
      'take the user and the password out of the URL and write credentials: { username: NAME, password: { file: PATH } }',
    ]);
  }
  if (text.includes('?') || text.includes('#')) {
    throw new ConfigError(['write the URL without a query and without a fragment']);
  }
  const path = url.pathname.replace(/\/+$/, '');
  if (path.endsWith('/v2')) {
    throw new ConfigError(['write the URL without /v2 at its end; it is added to every request']);
  }
  return url.origin + path;
}
