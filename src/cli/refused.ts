import type { AdmissionRuleReport, RefusedImage, RefusedPage } from '../api/admission-api.ts';
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
 * Lists what is pinned, in use or kept by sync and would be refused now. 0 when no rule that enforces refuses
 * any of it.
 */
export async function listRefused(
  { limit, ...options }: RefusedOptions,
  context: StoreContext,
): Promise<number> {
  const { config } = loadConfig({ file: options.config, ...context });
  const found = await withAdmin(config, context, async (ask) => collect(ask, limit));
  const { images, next } = found;
  print(options, context, found, (columns) =>
    images.length === 0
      ? `${TEXTS.nothingRefused}\n`
      : formatTable([HEADING, ...images.flatMap(rowsOf)], columns),
  );
  if (next !== undefined) {
    const verb = limit === 1 ? 'is' : 'are';
    context.stderr.write(`${TEXTS.moreImages({ images: count(limit, 'image'), verb })}\n`);
  }
  return images.every(({ isAllowed }) => isAllowed) ? EXIT_CODE.ok : EXIT_CODE.failed;
}

/** Page by page: one may have none of them, and a next one all the same. */
async function collect(ask: Ask, limit: number): Promise<RefusedPage> {
  const images: RefusedImage[] = [];
  let next: string | undefined;
  do {
    const query = new URLSearchParams({
      limit: String(Math.min(limit - images.length, MAX_PAGE)),
      ...(next !== undefined && { after: next }),
    });
    const path = `/api/v1/admission/refused?${query.toString()}`;
    const page = (await ask(path)) as RefusedPage;
    images.push(...page.images);
    ({ next } = page);
  } while (next !== undefined && images.length < limit);
  return { images, ...(next !== undefined && { next }) };
}

function rowsOf({ image, tags, pins, rules }: RefusedImage): string[][] {
  const kept = [...new Set(pins.map(describeOrigin))].join(', ');
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
