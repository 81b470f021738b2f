import { loadConfig } from '../config/load.ts';
import { withAdmin } from './admin-client.ts';
import { formatAge } from './age.ts';
import type { CommandOptions } from './command-options.ts';
import { count } from './count.ts';
import { describeOrigin } from './describe-pin.ts';
import { EXIT_CODE } from './exit-code.ts';
import { printJson } from './print-json.ts';
import { shortDigest } from './short-digest.ts';
import { roundSize } from './size.ts';
import type { StoreContext } from './store-context.ts';
import type { ImageReport, ManifestReport } from './store-documents.ts';
import { formatTable, onOneLine } from './table.ts';

/** Prints what is held of an image, what is missing, and what keeps it. Nothing held is a failure. */
export async function explain(
  image: string,
  options: CommandOptions,
  context: StoreContext,
): Promise<number> {
  const { config } = loadConfig({ file: options.config, ...context });
  const query = new URLSearchParams({ image });
  const document = await withAdmin(config, context, async (ask) =>
    ask(`/api/v1/explain?${query.toString()}`),
  );
  if (options.json) printJson(document, context);
  else context.stdout.write(formatReport(document as ImageReport, context.now()));
  return EXIT_CODE.ok;
}

function formatReport(report: ImageReport, now: number): string {
  const { image, tags, digest, mediaType, bytes, ownBytes, state, missingBytes } = report;
  const ago = (at: number): string => formatAge(at, now);
  const facts: readonly (readonly [string, string])[] = [
    ['digest', digest],
    ['type', mediaType],
    ['state', state === 'complete' ? state : `${state}, ${roundSize(missingBytes)} missing`],
    ['size', `${roundSize(bytes)}; without it there would be ${roundSize(ownBytes)} more room`],
    ['stored', ago(report.storedAt)],
    ['pulled', ago(report.lastPulledAt)],
    ...Object.entries(report.tagsCheckedAt).map(
      ([tag, at]) => ['checked', `${tag} ${ago(at)}`] as const,
    ),
    ...report.pins.map((pin) => {
      const reason = pin.reason === undefined ? '' : `: ${pin.reason}`;
      return [
        'pinned',
        `${describeOrigin(pin)} as ${pin.image} ${ago(pin.since)}${reason}`,
      ] as const;
    }),
    ...report.partOf.map((root) => ['part of', root] as const),
  ];
  const lines = facts.map(([name, fact]) => `  ${name.padEnd(8)} ${onOneLine(fact)}\n`);
  const rows = report.manifests.map(describeManifest);
  const heading = ['MANIFEST', 'ROLE', 'PLATFORM', 'SIZE', 'STATE'];
  const title = tags.length === 0 ? image : `${image}:${tags.join(', ')}`;
  return `${title}\n${lines.join('')}\n${formatTable([heading, ...rows])}`;
}

function describeManifest(manifest: ManifestReport): string[] {
  const { digest, role, platform = '', bytes } = manifest;
  return [shortDigest(digest), role, platform, roundSize(bytes), stateOf(manifest)];
}

function stateOf({ isHeld, isWanted, missing }: ManifestReport): string {
  if (!isHeld) return isWanted ? 'missing' : 'nobody asked for it';
  if (missing.length === 0) return 'held';
  const bytes = missing.reduce((sum, { size }) => sum + size, 0);
  const lack = `${count(missing.length, 'blob')} missing, ${roundSize(bytes)}`;
  return isWanted ? lack : `${lack}, nobody asked for it`;
}
