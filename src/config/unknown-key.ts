import * as z from 'zod';
import { FOREIGN_KEYS } from './foreign-keys.ts';
import { formatPath, type Path, type UnknownKey } from './problems.ts';
import { findRegistry, hostMeant } from './registries.ts';
import { findNear, plain } from './spelling.ts';
import { TEXTS } from './texts.ts';

/** A file with keys: the configuration, or a part of it. */
export interface KeyedFile {
  readonly schema: z.ZodType;
  /** Where the whole file would stand in the configuration. */
  readonly root?: readonly string[];
}

/**
 * What to write in place of an unknown key: the known one that it nearly is, what it is called here
 * when other programs have it, or the map that it belongs into; else what is known there.
 */
export function keyAdviser({ schema, root = [] }: KeyedFile): (unknown: UnknownKey) => string {
  return (unknown) => {
    const { path, key, known } = unknown;
    const sameHere = known.find((name) => plain(name) === plain(key));
    if (sameHere !== undefined) return TEXTS.unknownKeyWrite({ right: sameHere });
    // Keys of this very map are known, but for those of another form of it.
    const places = placesOf(schema).filter(
      (place) =>
        place.path.length - 1 !== path.length || countShared(path, place.path) < path.length,
    );
    const named = places.filter((place) => isNamed(place, key));
    return (
      adviseForeign(unknown, root) ??
      advisePlaces(unknown, named) ??
      adviseRegistry(unknown, [...root, ...path]) ??
      adviseNear(unknown, places) ??
      TEXTS.unknownKey({ keys: known.join(', ') })
    );
  };
}

function adviseForeign({ path, key, value }: UnknownKey, root: Path): string | undefined {
  const at = pattern([...root, ...path]);
  const row = FOREIGN_KEYS.find(
    (each) => at.includes(each.at) && each.keys.split(' ').includes(plain(key)),
  );
  if (row?.write === undefined) return row?.say;
  const right = row.write.replace(/<(.*)>/, (_, usual: string) => simple(value) ?? usual);
  return TEXTS.unknownKeyWrite({ right });
}

/** Maps whose keys are names. */
const NAMED: readonly string[] = ['upstreams', 'admission.trust.keys'];

/** The patterns of `FOREIGN_KEYS` that a path matches. */
function pattern(path: Path): string[] {
  const parts = path.map((part, depth) => {
    if (typeof part === 'number') return '[]';
    const isNamed = NAMED.includes(path.slice(0, depth).join('.'));
    return isNamed ? '*' : String(part);
  });
  const text = parts.join('.');
  // One of several accounts is as the only one.
  return [text, text.replace(/\.\[\]$/, '')];
}

/** A registry beside `upstreams`, as in files of other programs. */
function adviseRegistry({ key, value }: UnknownKey, path: Path): string | undefined {
  const name = findRegistry(hostMeant(key))?.name;
  if (path.length > 0 || name === undefined) return undefined;
  const entry = value === null ? '~' : '…';
  return TEXTS.unknownKeyWrite({ right: nest(['upstreams', name], entry) });
}

function adviseNear(unknown: UnknownKey, places: readonly Place[]): string | undefined {
  const { key, known } = unknown;
  const nearest = findNear(key, known);
  if (nearest !== undefined) return TEXTS.unknownKeyWrite({ right: nearest });
  return advisePlaces(
    unknown,
    places.filter(({ path }) => findNear(key, path.slice(-1)) !== undefined),
  );
}

/** The way to those places that lie nearest, at most three of them. */
function advisePlaces({ path, value }: UnknownKey, places: readonly Place[]): string | undefined {
  const ways = places.map((place) => ({ place, shared: countShared(path, place.path) }));
  const most = Math.max(...ways.map(({ shared }) => shared));
  const near = ways.filter(({ shared }) => shared === most);
  if (near.length === 0) return undefined;
  const rights = near.map(({ place }) =>
    nest(
      place.path.slice(most),
      place.isSecret ? '{ file: PATH }' : (place.isPlain && simple(value)) || '…',
    ),
  );
  const right = rights.slice(0, 3).join(' or ');
  if (most === path.length) return TEXTS.unknownKeyWrite({ right });
  if (most === 0) return TEXTS.unknownKeyAtTop({ right });
  return TEXTS.unknownKeyUnder({ right, above: formatPath(path.slice(0, most)) });
}

function countShared(path: Path, place: readonly string[]): number {
  const differs = path.findIndex((part, depth) => {
    const known = place[depth];
    return depth >= place.length - 1 || !(known === '*' || known === '[]' || known === part);
  });
  return differs === -1 ? path.length : differs;
}

/** A place below a map as YAML on one line. */
function nest(place: readonly string[], value: string): string {
  const [key = '', ...below] = place;
  const name = key === '*' ? 'REGISTRY' : key;
  if (below.length === 0) return `${name}: ${value}`;
  const isList = below[0] === '[]';
  const inner = `{ ${nest(isList ? below.slice(1) : below, value)} }`;
  return `${name}: ${isList ? `[${inner}]` : inner}`;
}

/** A value that may be repeated: a text may be a secret. */
function simple(value: unknown): string | undefined {
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}

/** A key that the schema knows. */
interface Place {
  /** `*` is any key of a map, `[]` any entry of a list. */
  readonly path: readonly string[];
  readonly isSecret: boolean;
  /** A number or a switch as it is. */
  readonly isPlain: boolean;
}

/** By its name, or by the whole way to it: `store.maxBytes`, `STORE_MAX_BYTES`. */
function isNamed({ path }: Place, key: string): boolean {
  const way = path.filter((part) => part !== '*' && part !== '[]');
  return [way.at(-1) ?? '', way.join('')].some((name) => plain(name) === plain(key));
}

type Node = z.core.JSONSchema.BaseSchema;

function placesOf(schema: z.ZodType): Place[] {
  const places = new Map<string, Place>();
  collect(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }), []);
  // One of several accounts has the keys of the only one.
  return [...places]
    .filter(([way]) => !way.includes('.[].') || !places.has(way.replace('.[].', '.')))
    .map(([, place]) => place);

  function collect(node: unknown, path: readonly string[]): void {
    if (typeof node !== 'object' || node === null) return;
    const { properties = {}, additionalProperties, items, anyOf = [], oneOf = [] } = node as Node;
    for (const [key, below] of Object.entries(properties)) {
      const place = [...path, key];
      const isSecret = isSecretNode(below);
      const isPlain = /^(?:boolean|integer)$/.test(String((below as Node).type));
      places.set(place.join('.'), { path: place, isSecret, isPlain });
      if (!isSecret) collect(below, place);
    }
    collect(additionalProperties, [...path, '*']);
    for (const form of [...anyOf, ...oneOf]) collect(form, path);
    collect(items, [...path, '[]']);
  }
}

function isSecretNode(node: unknown): boolean {
  const { properties = {} } = node as Node;
  return 'file' in properties && 'env' in properties;
}
