import { isRecord, listOf, textOf } from './bounded-json.ts';
import { nameOf, reportTypeOf } from './media-types.ts';
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

/** With what an adapter comes to a registry. */
export type PassScheme = 'Basic' | 'Bearer';

/** What an adapter tells about itself. */
export interface ScannerMetadata {
  /** Its name and version, for people. */
  readonly scanner: string;
  readonly database: ScannerDatabase;
  readonly vulnerability: ScannerCapability | undefined;
  readonly passScheme: PassScheme;
}

const UPDATED_AT = 'harbor.scanner-adapter/vulnerability-database-updated-at';
/** Of the index of Java packages Trivy's adapter only tells when the next one is due, which changes with it. */
const JAVA_DATES = [
  'harbor.scanner-adapter/vulnerability-java-database-updated-at',
  'harbor.scanner-adapter/vulnerability-java-database-next-update-at',
];
const PASS_SCHEME = 'harbor.scanner-adapter/registry-authorization-type';
const MAX_CAPABILITIES = 32;
const MAX_TYPES = 64;
const MAX_TEXT = 256;

/**
 * An adapter that does not say how it comes in takes `Basic`, as Harbor has it. Throws {@link ScanFault}.
 */
export function parseMetadata(document: Readonly<Record<string, unknown>>): ScannerMetadata {
  const { scanner, capabilities, properties } = document;
  if (!isRecord(scanner) || !Array.isArray(capabilities)) {
    throw new ScanFault('malformed', TEXTS.noMetadata);
  }
  const all = listOf(capabilities).slice(0, MAX_CAPABILITIES).filter(isRecord);
  const name = describeScanner(scanner);
  const told = isRecord(properties) ? properties : {};
  return {
    scanner: name,
    database: databaseOf(name, told),
    vulnerability: findCapability(all),
    passScheme: told[PASS_SCHEME] === 'Bearer' ? 'Bearer' : 'Basic',
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
  all: readonly Readonly<Record<string, unknown>>[],
): ScannerCapability | undefined {
  for (const { type = 'vulnerability', consumes_mime_types, produces_mime_types } of all) {
    const produces = reportTypeOf(typesOf(produces_mime_types));
    if (type !== 'vulnerability' || produces === undefined) continue;
    return { consumes: typesOf(consumes_mime_types).map(nameOf), produces };
  }
  return undefined;
}

function typesOf(list: unknown): readonly string[] {
  return listOf(list)
    .slice(0, MAX_TYPES)
    .flatMap((type) => textOf(type, MAX_TEXT) ?? []);
}
