import { isRecord, listOf, textOf } from './bounded-json.ts';
import { CYCLONEDX, nameOf, reportTypeOf, SPDX, type ReportKind } from './media-types.ts';
import { describeScanner } from './report.ts';
import { ScanFault } from './scan-fault.ts';
import { TEXTS } from './texts.ts';

/** What a scanner's findings come from. */
export interface ScannerDatabase {
  /** Of the scanner and its databases together: where it is another one, another scan may find other things. */
  readonly version: string;
  /** Milliseconds since 1970; `undefined`: the adapter does not tell. */
  readonly updatedAt: number | undefined;
}

export interface ScannerCapability {
  /** Types of artifacts that it reads. */
  readonly consumes: readonly string[];
  /** The type of its reports, as the adapter writes it. */
  readonly produces: string;
}

/** What an adapter tells about itself. */
export interface ScannerMetadata {
  /** Its name and version, for people. */
  readonly scanner: string;
  readonly database: ScannerDatabase;
  readonly vulnerability: ScannerCapability | undefined;
  readonly sbom: (ScannerCapability & { readonly mediaType: string }) | undefined;
}

const UPDATED_AT = 'harbor.scanner-adapter/vulnerability-database-updated-at';
/** Of the index of Java packages Trivy's adapter only tells when the next one is due, which changes with it. */
const JAVA_DATES = [
  'harbor.scanner-adapter/vulnerability-java-database-updated-at',
  'harbor.scanner-adapter/vulnerability-java-database-next-update-at',
];
const MAX_CAPABILITIES = 32;
const MAX_TYPES = 64;
const MAX_TEXT = 256;

/** Throws {@link ScanFault}. */
export function parseMetadata(document: Readonly<Record<string, unknown>>): ScannerMetadata {
  const { scanner, capabilities, properties } = document;
  if (!isRecord(scanner) || !Array.isArray(capabilities)) {
    throw new ScanFault('malformed', TEXTS.noMetadata);
  }
  const all = listOf(capabilities).slice(0, MAX_CAPABILITIES).filter(isRecord);
  const name = describeScanner(scanner);
  return {
    scanner: name,
    database: databaseOf(name, isRecord(properties) ? properties : {}),
    vulnerability: findCapability('vulnerability', all),
    sbom: sbomCapability(all),
  };
}

function databaseOf(
  scanner: string,
  properties: Readonly<Record<string, unknown>>,
): ScannerDatabase {
  const [updatedAt, ...ofJava] = [UPDATED_AT, ...JAVA_DATES].map((key) => {
    const at = Date.parse(textOf(properties[key], MAX_TEXT) ?? '');
    return Number.isNaN(at) ? undefined : at;
  });
  const java = ofJava.find((at) => at !== undefined);
  const dates = [updatedAt, java].map((at) =>
    at === undefined ? '-' : new Date(at).toISOString(),
  );
  return { version: [scanner, ...dates].join(' '), updatedAt };
}

/** One without a type is the original one, which finds vulnerabilities. */
function findCapability(
  kind: ReportKind,
  all: readonly Readonly<Record<string, unknown>>[],
): ScannerCapability | undefined {
  for (const { type = 'vulnerability', consumes_mime_types, produces_mime_types } of all) {
    const produces = reportTypeOf(kind, typesOf(produces_mime_types));
    if (type !== kind || produces === undefined) continue;
    return { consumes: typesOf(consumes_mime_types).map(nameOf), produces };
  }
  return undefined;
}

/** CycloneDX where there is a choice; adapters that do not say what they write know both. */
function sbomCapability(
  all: readonly Readonly<Record<string, unknown>>[],
): ScannerMetadata['sbom'] {
  const found = findCapability('sbom', all);
  if (!found) return undefined;
  const attributes = all.find(({ type }) => type === 'sbom')?.['additional_attributes'];
  const told = isRecord(attributes) ? typesOf(attributes['sbom_media_types']) : [];
  const mediaType = told.length === 0 || told.includes(CYCLONEDX) ? CYCLONEDX : SPDX;
  return { ...found, mediaType };
}

function typesOf(list: unknown): readonly string[] {
  return listOf(list)
    .slice(0, MAX_TYPES)
    .flatMap((type) => textOf(type, MAX_TEXT) ?? []);
}
