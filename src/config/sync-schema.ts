import { z } from 'zod';
import { ConfigError } from './config-error.ts';
import { parseCron } from './cron.ts';
import { parseDuration } from './duration.ts';
import { durationText } from './duration-schema.ts';
import { describeIssue, describeProblems } from './problems.ts';
import { parseRate, RATE } from './rate.ts';
import { converted } from './section.ts';
import type { Source } from './source.ts';
import type { SyncConfig } from './sync-config.ts';
import { readSyncFiles, type SyncFile } from './sync-files.ts';
import {
  completeRules,
  ruleDefaultsSchema,
  ruleSchema,
  type RuleSource,
} from './sync-rule-schema.ts';
import { parseTimeZone } from './time-zone.ts';

const DAY = 86_400_000;
const MAX_WINDOW_MS = 31 * DAY;
const CRON_ADVICE = 'write a cron expression such as "0 22 * * *"';
const CONCURRENCY_ADVICE = 'write a whole number of 1 or more';
const SHARE_ADVICE = 'write a share such as 20%, from 0% to 100%';
const SHARE = /^(\d{1,3}(?:\.\d+)?)%$/;
const FILE_ADVICE = 'write a map of defaults and rules';

const cron = z.string(CRON_ADVICE).transform(converted(parseCron));
const rules = z.array(ruleSchema);
const fileSchema = z.strictObject(
  { defaults: ruleDefaultsSchema, rules: rules.default([]) },
  { error: ({ code }) => (code === 'invalid_type' ? FILE_ADVICE : undefined) },
);

/** The `sync` key; absent and `~` are the same: nothing is fetched ahead of demand. */
export function syncSchema(source: Source) {
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
        .string('write a rate such as "20MiB/s"')
        .meta({ pattern: RATE.source })
        .transform(converted(parseRate))
        .exactOptional()
        .describe('Most bytes a second of all that sync fetches. Left out: no limit.'),
      jitter: durationText
        .transform(converted((text) => parseAtMost(text, DAY, '24h')))
        .prefault('0s')
        .describe('A run begins up to this much later.'),
      concurrency: z
        .int(CONCURRENCY_ADVICE)
        .min(1, CONCURRENCY_ADVICE)
        .default(4)
        .describe('Images at a time.'),
      releaseShare: z
        .string(SHARE_ADVICE)
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

function readFiles({ directory }: Source): (pattern: string) => RuleSource[] {
  return (pattern) => {
    const parsed = readSyncFiles(pattern, directory).map(parseFile);
    const problems = parsed.flatMap((file) => file.problems);
    if (problems.length > 0) throw new ConfigError(problems);
    return parsed.flatMap(({ source }) => source ?? []);
  };
}

function parseFile({ name, document }: SyncFile): { source?: RuleSource; problems: string[] } {
  const { data, error } = fileSchema.safeParse(document, { error: describeIssue });
  const problems = describeProblems(error?.issues ?? []).map((text) => `${name}: ${text}`);
  return data ? { source: { ...data, path: `${name}: rules` }, problems } : { problems };
}

function parseWindowLength(text: string): number {
  const milliseconds = parseAtMost(text, MAX_WINDOW_MS, '31d; leave windows out for at any time');
  if (milliseconds > 0) return milliseconds;
  throw new ConfigError(['write more than 0s; this window never opens']);
}

function parseAtMost(text: string, limit: number, said: string): number {
  const milliseconds = parseDuration(text);
  if (milliseconds > limit) throw new ConfigError([`write at most ${said}`]);
  return milliseconds;
}

function parseShare(text: string): number {
  const share = Number(SHARE.exec(text)?.[1]) / 100;
  if (share <= 1) return share;
  throw new ConfigError([`${SHARE_ADVICE}, not "${text}"`]);
}
