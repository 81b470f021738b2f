import { globSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { z } from 'zod';
import { RATE, parseRate } from './byte-size.ts';
import { ConfigError } from './config-error.ts';
import { parseCron, parseTimeZone } from './cron.ts';
import { durationText, parseDuration } from './duration.ts';
import { isGlob } from './glob.ts';
import { describeIssue, describeProblems } from './problems.ts';
import { converted } from './section.ts';
import { type Source, readTextFile } from './source.ts';
import type { SyncConfig } from './sync-config.ts';
import {
  type RuleSource,
  completeRules,
  ruleDefaultsSchema,
  ruleSchema,
} from './sync-rule-schema.ts';
import { parseYaml } from './yaml.ts';
import { TEXTS } from './texts.ts';

const DAY = 86_400_000;
const MAX_WINDOW_MS = 31 * DAY;
const SHARE = /^(\d{1,3}(?:\.\d+)?)%$/;

const cron = z.string(TEXTS.cron).transform(converted(parseCron));

/** The `sync` key. Absent and `~` are the same: nothing is fetched ahead of demand. */
export function syncSchema(source: Source) {
  const rules = z.array(ruleSchema(source));
  return z
    .strictObject({
      files: z
        .array(z.string().transform(converted(readFiles(source))))
        .default([])
        .describe('Files of { defaults, rules } that are added to these; patterns as well.'),
      schedule: cron.prefault('0 * * * *').describe('When runs begin; cron.'),
      timezone: z
        .string()
        .transform(converted(parseTimeZone))
        .exactOptional()
        .describe("Time zone of schedule and windows. Left out: the machine's."),
      windows: z
        .array(windowSchema())
        .default([])
        .describe('Bytes are fetched only inside of these. Left out: at any time.'),
      bandwidth: z
        .string(TEXTS.syncRate)
        .meta({ pattern: RATE.source })
        .transform(converted(parseRate))
        .exactOptional()
        .describe('Most bytes a second of all that sync fetches. Left out: no limit.'),
      jitter: durationText
        .transform(converted((text) => parseAtMost(text, DAY, '24h')))
        .prefault('0s')
        .describe('A run begins up to this much later.'),
      concurrency: z
        .int(TEXTS.asCount)
        .min(1, TEXTS.asCount)
        .default(4)
        .describe('Images at a time.'),
      releaseShare: z
        .string(TEXTS.share)
        .meta({ pattern: SHARE.source })
        .transform(converted(parseShare))
        .prefault('20%')
        .describe('Most of what was held that one run may release.'),
      defaults: ruleDefaultsSchema.describe('What rules have that do not say it themselves.'),
      rules: rules.default([]).describe('What must be held.'),
    })
    .transform(toSyncConfig)
    .nullish()
    .transform((value) => value ?? undefined);
}

function windowSchema() {
  return z
    .strictObject({
      opens: cron.describe('When it opens; cron.'),
      for: durationText
        .transform(converted(parseWindowLength))
        .describe('How long it stays open, in real time.'),
    })
    .transform(({ opens, for: forMs }) => ({ opens, forMs }));
}

type Written = Omit<SyncConfig, 'rules' | 'bytesPerSecond' | 'jitterMs'> &
  Omit<RuleSource, 'path'> & {
    readonly files: readonly (readonly RuleSource[])[];
    readonly bandwidth?: number;
    readonly jitter: number;
  };

/** A file that two entries name counts once. */
function toSyncConfig({
  files,
  defaults,
  rules: own,
  bandwidth,
  jitter,
  ...rest
}: Written): SyncConfig {
  const sources = new Map(files.flat().map((file) => [file.path, file]));
  return {
    ...rest,
    ...(bandwidth !== undefined && { bytesPerSecond: bandwidth }),
    jitterMs: jitter,
    rules: [
      ...completeRules({ defaults, rules: own, path: 'sync.rules' }, defaults),
      ...[...sources.values()].flatMap((file) => completeRules(file, defaults)),
    ],
  };
}

function fileSchema(source: Source) {
  return z.strictObject(
    { defaults: ruleDefaultsSchema, rules: z.array(ruleSchema(source)).default([]) },
    { error: ({ code }) => (code === 'invalid_type' ? TEXTS.syncFile : undefined) },
  );
}

function readFiles(place: Source): (pattern: string) => RuleSource[] {
  const schema = fileSchema(place);
  return (pattern) => {
    const parsed = readSyncFiles(pattern, place.directory).map((file) => parseFile(file, schema));
    const problems = parsed.flatMap((file) => file.problems);
    if (problems.length > 0) throw new ConfigError(problems);
    return parsed.flatMap(({ source }) => source ?? []);
  };
}

function parseFile(
  { name, document }: SyncFile,
  schema: ReturnType<typeof fileSchema>,
): { source?: RuleSource; problems: string[] } {
  const { data, error } = schema.safeParse(document, { error: describeIssue });
  const problems = describeProblems(error?.issues ?? []).map((text) => `${name}: ${text}`);
  return data ? { source: { ...data, path: `${name}: rules` }, problems } : { problems };
}

function parseWindowLength(text: string): number {
  const milliseconds = parseAtMost(text, MAX_WINDOW_MS, TEXTS.windowAtMost);
  if (milliseconds > 0) return milliseconds;
  throw new ConfigError([TEXTS.windowNeverOpens]);
}

function parseAtMost(text: string, limit: number, said: string): number {
  const milliseconds = parseDuration(text);
  if (milliseconds > limit) throw new ConfigError([TEXTS.atMost({ limit: said })]);
  return milliseconds;
}

function parseShare(text: string): number {
  const share = Number(SHARE.exec(text)?.[1]) / 100;
  if (share <= 1) return share;
  throw new ConfigError([TEXTS.notThis({ advice: TEXTS.share, text })]);
}

/** A file of rules before it is checked. */
export interface SyncFile {
  /** As messages call it: relative to the configuration where it is below it. */
  readonly name: string;
  readonly document: unknown;
}

/**
 * The files of a path, or of a glob in the order of their names. Throws a `ConfigError` with every
 * problem. A glob without a file is one too: without their rules, images would be released.
 */
export function readSyncFiles(pattern: string, directory: string): SyncFile[] {
  const paths = isGlob(pattern)
    ? globSync(pattern, { cwd: directory }).map((path) => resolve(directory, path))
    : [resolve(directory, pattern)];
  if (paths.length === 0) {
    throw new ConfigError([TEXTS.noFileMatches({ pattern })]);
  }
  const problems: string[] = [];
  const files = paths.toSorted().flatMap((path) => {
    const below = relative(directory, path);
    const name = below.startsWith('..') ? path : below;
    try {
      return [{ name, document: parseYaml(readTextFile(path)) }];
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      problems.push(
        ...error.problems.map((text) => (text.includes(path) ? text : `${name}: ${text}`)),
      );
      return [];
    }
  });
  if (problems.length > 0) throw new ConfigError(problems);
  return files;
}
