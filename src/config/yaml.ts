import { Document, isMap, isNode, LineCounter, parseDocument, stringify, visit } from 'yaml';
import { ConfigError } from './problems.ts';
import { TEXTS } from './texts.ts';

interface Fault {
  readonly offset: number;
  readonly message: string;
}

/**
 * The value of a YAML file; `{}` for an empty one. Throws a `ConfigError` with line and column of
 * each problem, and without the text there, which may be a secret.
 */
export function parseYaml(text: string): unknown {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, {
    lineCounter,
    prettyErrors: false,
    merge: true,
    resolveKnownTags: false,
    logLevel: 'error',
  });
  const faults = [...syntaxFaults(document), ...unknownAliases(document)];
  if (faults.length === 0) return toValue(document);
  throw new ConfigError(
    faults
      .toSorted((one, other) => one.offset - other.offset)
      .map(({ offset, message }) => {
        const { line, col } = lineCounter.linePos(offset);
        return TEXTS.yamlFault({ line, column: col, fault: withoutSource(message) });
      }),
  );
}

/** The line on which a value of a YAML text begins, from 1; `undefined` where it is not found, as behind an alias. */
export function findLine(text: string, path: readonly (string | number)[]): number | undefined {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, prettyErrors: false, logLevel: 'error' });
  const node = document.getIn(path, true);
  const at = isNode(node) ? node.range?.[0] : undefined;
  return at === undefined ? undefined : lineCounter.linePos(at).line;
}

/** The message without the quoted text, which may be a secret. */
function withoutSource(message: string): string {
  return message.replace(/(?:(?<! ): |; | [\\%]).*$/s, '');
}

/** Warnings count as faults: an unknown tag would silently become text. */
function syntaxFaults({ errors, warnings }: Document): Fault[] {
  return [...errors, ...warnings].map(({ pos, message }) => ({ offset: pos[0], message }));
}

function unknownAliases(document: Document): Fault[] {
  const faults: Fault[] = [];
  visit(document, {
    Alias(_, alias) {
      if (alias.resolve(document)) return;
      faults.push({ offset: alias.range?.[0] ?? 0, message: TEXTS.yamlAlias });
    },
  });
  return faults;
}

function toValue(document: Document): unknown {
  try {
    return document.toJS() ?? {};
  } catch (error) {
    // Thrown for aliases that expand to too many values.
    if (!(error instanceof ReferenceError)) throw error;
    throw new ConfigError([error.message], { cause: error });
  }
}

/** Block style for the outer levels, flow style for the inner ones. */
export function formatYaml(value: unknown): string {
  const document = new Document(value, { aliasDuplicateObjects: false });
  visit(document, {
    Seq(_, list, path) {
      list.flow = path.length > 5 || !list.items.some(isMap);
    },
    Map(_, map, path) {
      map.flow = path.length > 6;
    },
  });
  return stringify(document, { lineWidth: 0 });
}
