import { isRepository } from '../oci/reference.ts';
import { ConfigError } from './config-error.ts';
import { isHost } from './registries.ts';

/**
 * The place of an upstream; prefix or namespace pick the registry of a mirror of several
 * registries.
 */
export interface UpstreamUrl {
  /** The base of its endpoints, without a trailing slash and without `/v2`. */
  readonly url: string;
  readonly prefix?: string;
  readonly namespace?: string;
}

const MIRROR_ADVICE =
  'for a mirror of several registries write https://HOST/v2/PREFIX or https://HOST/?ns=REGISTRY';
const V2_ADVICE = `write the URL without /v2 at its end, which is added to every request; ${MIRROR_ADVICE}`;
const QUERY_ADVICE = `write the URL without a query and without a fragment; ${MIRROR_ADVICE}`;

/**
 * Throws a `ConfigError` that says what to write and repeats nothing of the URL, which may hold a
 * password.
 */
export function parseUpstreamUrl(text: string): UpstreamUrl {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new ConfigError(['write a URL that begins with https:// or http://']);
  }
  if (url.username !== '' || url.password !== '') {
    throw new ConfigError([
      'take the user and the password out of the URL and write credentials: { username: NAME, password: { file: PATH } }',
    ]);
  }
  const namespace = parseQuery(url, text);
  const path = url.pathname.replace(/\/+$/, '');
  if (path.endsWith('/v2')) throw new ConfigError([V2_ADVICE]);
  const [, base = path, prefix] = /^(.*?)\/v2\/(.*)$/.exec(path) ?? [];
  if (prefix !== undefined) {
    checkPrefix(prefix);
    if (namespace !== undefined) {
      throw new ConfigError(['a prefix behind /v2/ and ns say the same; write one of the two']);
    }
  }
  return {
    url: url.origin + base,
    ...(prefix !== undefined && { prefix }),
    ...(namespace !== undefined && { namespace }),
  };
}

/** The inverse of `parseUpstreamUrl`. */
export function formatUpstreamUrl({ url, prefix, namespace }: UpstreamUrl): string {
  if (prefix !== undefined) return `${url}/v2/${prefix}`;
  return namespace === undefined ? url : `${url}/?ns=${namespace}`;
}

/** The registry that `?ns=` names. Throws for any other query. */
function parseQuery({ searchParams }: URL, text: string): string | undefined {
  if (!text.includes('?') && !text.includes('#')) return undefined;
  const [[key, value] = ['', ''], ...others] = searchParams;
  if (key !== 'ns' || others.length > 0 || text.includes('#')) {
    throw new ConfigError([QUERY_ADVICE]);
  }
  if (isHost(value)) return value;
  throw new ConfigError(['behind ns= write the name of a registry, such as docker.io']);
}

function checkPrefix(prefix: string): void {
  if (isRepository(prefix)) return;
  throw new ConfigError([
    'behind /v2/ write what repositories there begin with, such as docker.io or a project, in lower case; a port is written as in reg.example_5000',
  ]);
}
