/** What may be asked for of a repository, and the ways to say which one. */
import type { ClientAnswer } from '../helpers/client.ts';
import { fallbackTag } from '../helpers/image.ts';
import { HUB, OTHER, type Kind, type Verb, type World } from './world.ts';

export interface Route {
  /** As the running application has it. */
  readonly of: string;
  readonly verb: Verb;
  readonly below: (world: World, upstream: string, kind: Kind) => string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether an answer has all of the content: of its digest. */
  readonly digest?: (world: World, upstream: string, kind: Kind) => string;
}

/** Requests for what a repository has; a route without one here has no decision. */
export const ROUTES: Readonly<Record<string, Route>> = {
  'manifest by tag': {
    of: 'GET …/manifests/…',
    verb: 'pull',
    below: () => 'manifests/v1',
  },
  'manifest by digest': {
    of: 'GET …/manifests/…',
    verb: 'pull',
    below: (world, ...which) => `manifests/${world.image(...which).manifest.digest}`,
  },
  'fallback tag': {
    of: 'GET …/manifests/…',
    verb: 'pull',
    below: (world, ...which) => `manifests/${fallbackTag(world.image(...which).manifest.digest)}`,
  },
  blob: {
    of: 'GET …/blobs/…',
    verb: 'pull',
    below: (world, ...which) => `blobs/${world.image(...which).layer(0).digest}`,
  },
  range: {
    of: 'GET …/blobs/…',
    verb: 'pull',
    below: (world, ...which) => `blobs/${world.image(...which).layer(0).digest}`,
    headers: { range: 'bytes=10-19' },
  },
  referrers: {
    of: 'GET …/referrers/…',
    verb: 'pull',
    below: (world, ...which) => `referrers/${world.image(...which).manifest.digest}`,
  },
  tags: { of: 'GET …/tags/…', verb: 'list', below: () => 'tags/list' },
};

export interface Way {
  readonly upstream: string;
  readonly path: (name: string, below: string) => string;
  readonly headers?: Readonly<Record<string, string>>;
}

const ALIAS = HUB.replace(':', '_');
/** All ways to say of which registry a repository is. */
export const WAYS: Readonly<Record<string, Way>> = {
  default: { upstream: OTHER, path: (name, below) => `/v2/${name}/${below}` },
  ns: { upstream: HUB, path: (name, below) => `/v2/${name}/${below}?ns=${HUB}` },
  'ns and path': { upstream: HUB, path: (name, below) => `/v2/${HUB}/${name}/${below}?ns=${HUB}` },
  'ns before all': {
    upstream: HUB,
    path: (name, below) => `/${OTHER}/v2/${name}/${below}?ns=${HUB}`,
    headers: { 'oci-namespace': OTHER },
  },
  header: {
    upstream: HUB,
    path: (name, below) => `/v2/${name}/${below}`,
    headers: { 'oci-namespace': HUB },
  },
  path: { upstream: HUB, path: (name, below) => `/v2/${HUB}/${name}/${below}` },
  'path in capitals': {
    upstream: HUB,
    path: (name, below) => `/v2/${ALIAS.toUpperCase()}/${name}/${below}`,
  },
  prefix: { upstream: HUB, path: (name, below) => `/${ALIAS}/v2/${name}/${below}` },
  host: {
    upstream: HUB,
    path: (name, below) => `/v2/${name}/${below}`,
    headers: { host: 'hub.mirror' },
  },
  'host with a port': {
    upstream: HUB,
    path: (name, below) => `/v2/${name}/${below}`,
    headers: { host: 'HUB.mirror:8443' },
  },
  'path before host': {
    upstream: OTHER,
    path: (name, below) => `/v2/index.docker.io/${name}/${below}`,
    headers: { host: 'hub.mirror' },
  },
  encoded: {
    upstream: HUB,
    path: (name, below) =>
      `/v2/${HUB}/${name.replaceAll(/[a-z]/g, (each) => `%${each.charCodeAt(0).toString(16)}`)}/${below}`,
  },
};

/** The headers of an answer but for those that change with each one. */
export function lasting(headers: ClientAnswer['headers']): ClientAnswer['headers'] {
  const changing = ['date', 'x-request-id', 'keep-alive', 'connection'];
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !changing.includes(name)));
}
