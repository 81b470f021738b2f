import type { Config } from './config.ts';
import { coversGlob } from './glob-cover.ts';
import { HostList, parseAddress } from './host-list.ts';
import { parseHtpasswd } from './htpasswd.ts';
import { imageGlobFault } from './image-glob.ts';
import { ConfigError, describeProblem } from './problems.ts';
import { isLoopbackHost } from './proxy.ts';
import { includesWish, isRole } from './access-schema.ts';
import { readTextFile } from './source.ts';
import { TEXTS } from './texts.ts';
import { whoFault } from './who-fault.ts';

type Access = NonNullable<Config['access']>;
type RuleConfig = Access['rules'][number];

export interface RuleFindings {
  /** What is likely not meant, each with its path. */
  readonly warnings: readonly string[];
  /** No rule can ever give anything to anybody. */
  readonly isShut: boolean;
}

/** What is wrong with `access.rules` although each of them can be read. */
export function findRuleFaults(config: Config): RuleFindings {
  const { access } = config;
  if (!access) return { warnings: [], isShut: false };
  const users = readUsers(access);
  const live: number[] = [];
  const warnings = access.rules.flatMap((rule, at) => {
    const { faults, isDead } = examine(rule, { ...config, access, users });
    const earlier = live.find((other) => covers(access.rules[other]!, rule));
    if (!isDead) live.push(at);
    const path = ['access', 'rules', at];
    const told = faults.map((fault) => describeProblem([...path, ...fault.path], fault.text));
    if (isDead || earlier === undefined) return told;
    return [...told, describeProblem(path, TEXTS.accessCovered({ earlier }))];
  });
  return { warnings, isShut: live.length === 0 };
}

interface Surroundings extends Pick<
  Config,
  'upstreams' | 'defaultUpstream' | 'trustProxy' | 'listen' | 'admin'
> {
  readonly access: Access;
  readonly users: readonly string[] | undefined;
}

interface Fault {
  readonly path: readonly (string | number)[];
  readonly text: string;
}

/** Whether everybody may pull all that an upstream has. */
export function givesAllOf(rules: readonly RuleConfig[], upstream: string): boolean {
  const all = { who: ['anonymous'], may: ['pull'] as const, images: [`${upstream}/**`] };
  return rules.some((rule) => covers(rule, all));
}

/** A rule gives nothing where all that it names under one key names nobody, or nothing. */
function examine(rule: RuleConfig, around: Surroundings): { faults: Fault[]; isDead: boolean } {
  const { who, may, images, from } = rule;
  const registries = { names: Object.keys(around.upstreams), standard: around.defaultUpstream };
  const whose = who.map((name) => whoFault(name, around.access, around.users));
  const ofImages = (images ?? []).map((glob) => imageGlobFault(glob, registries));
  const ofPlaces = from ? placeFault(rule, from, around) : undefined;
  const told = (key: string, texts: readonly (string | undefined)[]): Fault[] =>
    texts.flatMap((text, at) => (text === undefined ? [] : [{ path: [key, at], text }]));
  return {
    faults: [
      ...told('who', whose),
      ...(ofPlaces ? [{ path: ['from'], text: ofPlaces.text }] : []),
      ...told('images', ofImages),
    ],
    isDead: isAll(whose) || ofPlaces?.isDead === true || (isAll(ofImages) && !may.some(isRole)),
  };
}

function isAll(texts: readonly (string | undefined)[]): boolean {
  return texts.every((text) => text !== undefined);
}

/** Who comes through a proxy that is not trusted comes from that proxy; one that is trusted says who comes. */
function placeFault(
  { may, images }: RuleConfig,
  from: readonly string[],
  { trustProxy, listen, admin }: Surroundings,
): { text: string; isDead: boolean } | undefined {
  const isOfImages = images !== undefined && may.some((each) => !isRole(each));
  const { host } = isOfImages ? listen : admin;
  const trusted = isOfImages ? trustProxy : [];
  if (trusted.length === 0 && isLoopbackHost(host) && !from.some(hasLoopback)) {
    const key = isOfImages ? 'listen' : 'admin';
    return { text: TEXTS.accessFromLocal({ key }), isDead: true };
  }
  const spoiled = from.find((range) => trusted.some((proxies) => coversRange(proxies, range)));
  return spoiled === undefined
    ? undefined
    : { text: TEXTS.accessFromProxies({ range: spoiled }), isDead: false };
}

function hasLoopback(range: string): boolean {
  const ranges = new HostList('', [range]);
  return (
    ranges.has('127.0.0.1', 0) || ranges.has('::1', 0) || isLoopbackHost(range.replace(/\/.*$/, ''))
  );
}

/** Whether one rule gives all that another one gives. */
function covers(wide: RuleConfig, narrow: RuleConfig): boolean {
  const everyOf = (texts: readonly string[] | undefined, by: (text: string) => boolean): boolean =>
    (texts ?? []).every(by);
  const isOpen = wide.who.includes('anonymous');
  return (
    narrow.may.every((each) => wide.may.some((other) => includesWish(other, each))) &&
    (isOpen || everyOf(narrow.who, (name) => wide.who.some((other) => coversGlob(other, name)))) &&
    everyOf(narrow.images, (glob) => !!wide.images?.some((other) => coversGlob(other, glob))) &&
    (!wide.from ||
      (narrow.from !== undefined &&
        everyOf(narrow.from, (range) => !!wide.from?.some((other) => coversRange(other, range)))))
  );
}

function coversRange(wide: string, narrow: string): boolean {
  const [one, other] = [parseAddress(wide), parseAddress(narrow)];
  if (!one || !other) return false;
  return one.bits <= other.bits && new HostList('', [wide]).has(other.address, 0);
}

function readUsers({ htpasswd }: Access): readonly string[] | undefined {
  if (!htpasswd) return undefined;
  try {
    return [...parseHtpasswd(readTextFile(htpasswd.file), htpasswd.file).keys()];
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}
