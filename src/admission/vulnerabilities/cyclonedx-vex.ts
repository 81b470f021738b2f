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

const STATUSES: ReadonlyMap<unknown, VexStatus> = new Map([
  ['resolved', 'fixed'],
  ['resolved_with_pedigree', 'fixed'],
  ['exploitable', 'affected'],
  ['in_triage', 'under_investigation'],
  ['false_positive', 'not_affected'],
  ['not_affected', 'not_affected'],
]);
const JUSTIFICATIONS: ReadonlySet<unknown> = new Set([
  'code_not_present',
  'code_not_reachable',
  'requires_configuration',
  'requires_dependency',
  'requires_environment',
  'protected_by_compiler',
  'protected_at_runtime',
  'protected_at_perimeter',
  'protected_by_mitigating_control',
]);
const MAX_NAME = 2_048;

export function isCycloneDx(document: Document): boolean {
  return document['bomFormat'] === 'CycloneDX';
}

/**
 * What a CycloneDX document says of the image in its `vulnerabilities`: of the image itself, or of packages
 * in a document whose subject it is. What is not affected, or wrongly reported, must say why by one of the
 * words of the specification.
 * @see https://cyclonedx.org/docs/1.6/json/#vulnerabilities
 */
export function readCycloneDx(
  document: Document,
  image: JudgedImage,
  parts: PartsLeft,
): VexStatement[] {
  const metadata = isRecord(document['metadata']) ? document['metadata'] : {};
  const about = new Components(document, metadata, parts);
  const from = tidy(textOf(document['serialNumber'], MAX_ID) ?? '');
  return parts.take(document['vulnerabilities']).flatMap((entry): VexStatement[] => {
    const vulnerability = isRecord(entry) ? entry : {};
    const analysis = isRecord(vulnerability['analysis']) ? vulnerability['analysis'] : {};
    const status = STATUSES.get(analysis['state']);
    const ids = idsOf(vulnerability, parts);
    const packages = about.packagesOf(parts.take(vulnerability['affects']), image);
    if (!status || ids.length === 0 || packages === 'none') return [];
    const at = momentOf(
      analysis['lastUpdated'],
      analysis['firstIssued'],
      vulnerability['updated'],
      metadata['timestamp'],
    );
    const isJustified = JUSTIFICATIONS.has(analysis['justification']);
    return [{ ids, status, isJustified, packages, at, from }];
  });
}

function idsOf({ id, references }: Document, parts: PartsLeft): readonly string[] {
  const others = parts
    .take(references)
    .slice(0, MAX_NAMES)
    .map((reference) => (isRecord(reference) ? reference['id'] : undefined));
  return [id, ...others].flatMap((each) => textOf(each, MAX_ID) ?? []);
}

/** What the references of a document mean. */
class Components {
  readonly #products = new Map<string, VexProduct>();
  readonly #subject: VexProduct;

  constructor(document: Document, { component }: Document, parts: PartsLeft) {
    for (const each of parts.take(document['components'])) {
      if (isRecord(each)) this.#add(each, parts);
    }
    this.#subject = isRecord(component) ? this.#add(component, parts) : { names: [], sums: [] };
  }

  /** `undefined`: all of the image; `none`: nothing of it. */
  packagesOf(
    affects: readonly unknown[],
    image: JudgedImage,
  ): readonly VexPackage[] | undefined | 'none' {
    const affected = affects.flatMap((each) => {
      const ref = isRecord(each) ? textOf(each['ref'], MAX_NAME) : undefined;
      return ref === undefined ? [] : [this.#find(ref)];
    });
    if (affected.some((product) => isImage(product, image))) return undefined;
    if (!isImage(this.#subject, image)) return 'none';
    return affected.flatMap(({ names }) => names.flatMap((name) => packageOf(name) ?? []));
  }

  #add({ 'bom-ref': ref, purl, name, version, hashes }: Document, parts: PartsLeft): VexProduct {
    const sums = parts.take(hashes).flatMap((hash) => {
      const isSum = isRecord(hash) && hash['alg'] === 'SHA-256';
      return isSum ? (textOf(hash['content'], MAX_ID) ?? []) : [];
    });
    const names = [purl, ref, name, version].flatMap((each) => textOf(each, MAX_NAME) ?? []);
    const product = { names, sums };
    const key = textOf(ref, MAX_NAME);
    if (key !== undefined) this.#products.set(key, product);
    return product;
  }

  /** A reference to another document names what it means after the `#`. */
  #find(ref: string): VexProduct {
    const own = this.#products.get(ref);
    if (own) return own;
    const named = /^urn:cdx:[^#]+#(.+)$/.exec(ref)?.[1];
    return { names: [named === undefined ? ref : unescape(named)], sums: [] };
  }
}

function unescape(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
