import type {
  AdmissionRuleReport,
  RefusedImage,
  RefusedImport,
  RefusedPage,
} from '../api/admission-api.ts';
import { loadConfig } from '../config/load.ts';
import { withAdmin, type Ask } from './admin-client.ts';
import { describeUnmet } from './admission-format.ts';
import { EXIT_CODE, print, type CommandOptions, type StoreContext } from './command-context.ts';
import { count, describeOrigin, formatTable } from './format.ts';
import { TEXTS } from './texts.ts';

interface RefusedOptions extends CommandOptions {
  readonly limit: number;
}

const HEADING = ['IMAGE', 'TAGS', 'RULE', 'STATE', 'KEPT', 'WHY'];
const MAX_PAGE = 1000;

/**
 * Lists what is pinned, in use or kept by sync and would be refused now, and what bundles brought that was not
 * taken. 0 when no rule that enforces refuses any of it.
 */
export async function listRefused(
  { limit, ...options }: RefusedOptions,
  context: StoreContext,
): Promise<number> {
  const { config } = loadConfig({ file: options.config, ...context });
  const found = await withAdmin(config, context, async (ask) => collect(ask, limit));
  const { images, imports = [], next } = found;
  const rows = [...images, ...imports].flatMap(rowsOf);
  print(options, context, found, (columns) =>
    rows.length === 0 ? `${TEXTS.nothingRefused}\n` : formatTable([HEADING, ...rows], columns),
  );
  if (next !== undefined) {
    const verb = limit === 1 ? 'is' : 'are';
    context.stderr.write(`${TEXTS.moreImages({ images: count(limit, 'image'), verb })}\n`);
  }
  const isAllowed = [...images, ...imports].every((image) => image.isAllowed);
  return isAllowed ? EXIT_CODE.ok : EXIT_CODE.failed;
}

/** Page by page: one may have none of them, and a next one all the same. */
async function collect(ask: Ask, limit: number): Promise<RefusedPage> {
  const images: RefusedImage[] = [];
  let imports: RefusedPage['imports'];
  let next: string | undefined;
  do {
    const query = new URLSearchParams({
      limit: String(Math.min(limit - images.length, MAX_PAGE)),
      ...(next !== undefined && { after: next }),
    });
    const path = `/api/v1/admission/refused?${query.toString()}`;
    const page = (await ask(path)) as RefusedPage;
    images.push(...page.images);
    imports ??= page.imports;
    ({ next } = page);
  } while (next !== undefined && images.length < limit);
  return { images, ...(imports && { imports }), ...(next !== undefined && { next }) };
}

function rowsOf({
  image,
  tags,
  pins,
  rules,
  bundle,
}: RefusedImage & Partial<RefusedImport>): string[][] {
  const kept = bundle ? TEXTS.untaken(bundle) : [...new Set(pins.map(describeOrigin))].join(', ');
  if (rules.length === 0) {
    return [[image, tags.join(', '), '', TEXTS.admittedNow, kept, TEXTS.importAgain]];
  }
  return rules.map((rule) => [
    image,
    tags.join(', '),
    rule.place,
    stateOf(rule),
    kept,
    describeUnmet(rule),
  ]);
}

function stateOf({ mode, outcome }: AdmissionRuleReport): string {
  return mode === 'audit' ? TEXTS.wouldBe({ outcome }) : outcome;
}
