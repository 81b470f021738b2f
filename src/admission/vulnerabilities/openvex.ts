import { isRecord, textOf } from './bounded-json.ts';
import { tidy } from './report.ts';
import {
  isImage,
  MAX_ID,
  MAX_NAMES,
  momentOf,
  packageOf,
  type JudgedImage,
  type PartsLeft,
  type VexPackage,
  type VexProduct,
  type VexStatement,
  type VexStatus,
} from './vex.ts';

type Document = Readonly<Record<string, unknown>>;

const STATUSES: ReadonlySet<string> = new Set<VexStatus>([
  'not_affected',
  'affected',
  'fixed',
  'under_investigation',
]);
const JUSTIFICATIONS: ReadonlySet<unknown> = new Set([
  'component_not_present',
  'vulnerable_code_not_present',
  'vulnerable_code_not_in_execute_path',
  'vulnerable_code_cannot_be_controlled_by_adversary',
  'inline_mitigations_already_exist',
]);

export function isOpenVex(document: Document): boolean {
  return /^https:\/\/openvex\.dev\/ns(?:\/|$)/.test(textOf(document['@context'], MAX_ID) ?? '');
}

/**
 * What an OpenVEX document says of the image, in the form of 0.2.0 or the older one, where vulnerabilities
 * and products are plain names. What is not affected must say why by one of the five words: a sentence of
 * prose is no justification.
 * @see https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md
 */
export function readOpenVex(
  document: Document,
  image: JudgedImage,
  parts: PartsLeft,
): VexStatement[] {
  const from = tidy(textOf(document['author'], MAX_ID) ?? textOf(document['@id'], MAX_ID) ?? '');
  return parts.take(document['statements']).flatMap((entry): VexStatement[] => {
    const statement = isRecord(entry) ? entry : {};
    const status = textOf(statement['status'], MAX_ID) ?? '';
    const ids = idsOf(statement['vulnerability']);
    const packages = packagesOf(statement, image, parts);
    if (!STATUSES.has(status) || ids.length === 0 || packages === 'none') return [];
    const at = momentOf(
      statement['last_updated'],
      statement['timestamp'],
      document['last_updated'],
      document['timestamp'],
    );
    const isJustified = JUSTIFICATIONS.has(statement['justification']);
    return [{ ids, status: status as VexStatus, isJustified, packages, at, from }];
  });
}

function idsOf(vulnerability: unknown): readonly string[] {
  if (!isRecord(vulnerability)) return [textOf(vulnerability, MAX_ID) ?? []].flat();
  const { name, aliases, '@id': id } = vulnerability;
  const others = Array.isArray(aliases) ? (aliases.slice(0, MAX_NAMES) as readonly unknown[]) : [];
  return [name, id, ...others].flatMap((each) => textOf(each, MAX_ID) ?? []);
}

/** Of the products that are the image: their packages, or all of it where one has none; `none` of others. */
function packagesOf(
  { products, subcomponents }: Document,
  image: JudgedImage,
  parts: PartsLeft,
): readonly VexPackage[] | undefined | 'none' {
  const own = parts.take(products).filter((product) => isImage(productOf(product), image));
  if (own.length === 0) return 'none';
  // The older form has one list of packages for all products.
  const common = parts.take(subcomponents);
  const lists = own.map((product) => {
    const listed = isRecord(product) ? parts.take(product['subcomponents']) : [];
    return listed.length > 0 ? listed : common;
  });
  if (lists.some((list) => list.length === 0)) return undefined;
  return lists
    .flat()
    .flatMap((each) => productOf(each).names.flatMap((name) => packageOf(name) ?? []));
}

function productOf(product: unknown): VexProduct {
  if (!isRecord(product)) return { names: [textOf(product, MAX_ID * 8) ?? []].flat(), sums: [] };
  const { '@id': id, identifiers, hashes } = product;
  const purl = isRecord(identifiers) ? identifiers['purl'] : undefined;
  const sum = isRecord(hashes) ? textOf(hashes['sha-256'], MAX_ID) : undefined;
  return {
    names: [id, purl].flatMap((each) => textOf(each, MAX_ID * 8) ?? []),
    sums: sum === undefined ? [] : [sum],
  };
}
