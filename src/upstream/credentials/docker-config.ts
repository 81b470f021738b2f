import { canonicalRegistryName } from '../../config/registries.ts';
import { readTextFile } from '../../config/source.ts';
import type { Issued } from '../expiring-value.ts';
import { parseJsonObject } from '../../net/content-coding.ts';
import { issueFromHelper } from './credential-helper.ts';
import type { Credential } from './credential.ts';
import { TEXTS } from '../texts.ts';

export interface DockerConfigParts {
  /** `config.json` of Docker or `auth.json` of Podman. */
  readonly file: string;
  /** The registry as it was logged in to. */
  readonly server: string;
  /** What the file holds; it is read unless that is given. */
  readonly document?: DockerConfig;
}

type Fields = Readonly<Record<string, unknown>>;
export type DockerConfig = Fields;

/** A helper's `docker login` shows after this time at the latest; that of the file itself at once. */
const LIFE_MS = 10 * 60_000;

/**
 * As Docker does it: the registry's own helper goes before the helper of all, and
 * that before what the file itself holds. What it throws says nothing of what the file
 * holds.
 */
export async function issueFromDockerConfig(parts: DockerConfigParts): Promise<Issued<Credential>> {
  const { file, server, document = readDockerConfig(file) } = parts;
  const { auths, credHelpers, credsStore } = document;
  const helper = findEntry(credHelpers, server) ?? credsStore;
  if (typeof helper === 'string' && helper !== '') {
    checkHelperName(helper, file);
    return issueFromHelper({ name: helper, server });
  }
  const entry = findEntry(auths, server);
  const value = isMap(entry) ? readEntry(entry) : undefined;
  if (!value) throw new Error(TEXTS.configWithout({ file, server }));
  return { value, lifeMs: LIFE_MS };
}

/** Throws without a word of what the file holds. */
export function readDockerConfig(file: string): DockerConfig {
  const document = parseJsonObject(Buffer.from(readTextFile(file)));
  if (!document) throw new Error(TEXTS.configNotJson({ file }));
  return document;
}

/**
 * The value of a server's key: the very key, else one for the whole host, else one of Podman's for
 * a namespace of that host.
 */
function findEntry(map: unknown, server: string): unknown {
  if (!isMap(map)) return undefined;
  if (Object.hasOwn(map, server)) return map[server];
  const wanted = placeOf(server).host;
  const places = Object.entries(map).map(([key, value]) => ({ ...placeOf(key), value }));
  const ofHost = places.filter(({ host }) => host === wanted);
  return (ofHost.find(({ namespace }) => namespace === '') ?? ofHost[0])?.value;
}

/** Keys are `reg.example:5000`, `https://reg.example:5000/v1/` or `reg.example:5000/namespace`. */
function placeOf(key: string): { host: string; namespace: string } {
  const [, host = '', path = ''] = /^(?:https?:\/\/)?([^/]*)\/?(.*)$/.exec(key) ?? [];
  const namespace = /^v[12]\/?$/.test(path) ? '' : path;
  return { host: canonicalRegistryName(host.toLowerCase()), namespace };
}

function readEntry(entry: Fields): Credential | undefined {
  const { identitytoken, registrytoken } = entry;
  if (isText(identitytoken)) return { kind: 'identity-token', token: identitytoken };
  if (isText(registrytoken)) return { kind: 'bearer', token: registrytoken };
  const { username, password } = isText(entry['auth']) ? decodeAuth(entry['auth']) : entry;
  if (!isText(username) || !isText(password)) return undefined;
  return { kind: 'password', username, password };
}

/** Name and password in base64; some writers fill the end with NULs. */
function decodeAuth(auth: string): Fields {
  const text = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '');
  const colon = text.indexOf(':');
  return colon < 0 ? {} : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

function checkHelperName(name: string, file: string): void {
  if (!/^[a-zA-Z0-9_.-]+$/.test(name)) {
    throw new Error(TEXTS.configHelper({ file }));
  }
}

function isMap(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
