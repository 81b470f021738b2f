import { globSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import * as z from 'zod';
import { Cron } from 'croner';
import { ConfigError, describeIssue, describeProblems } from './problems.ts';
import { duration, shareSchema, rate } from './quantity.ts';
import { isGlob } from './glob.ts';
import { converted, type Frozen } from './section.ts';
import { type Source, readTextFile } from './source.ts';
import {
  type RuleSource,
  completeRules,
  ruleDefaultsSchema,
  ruleSchema,
} from './sync-rule-schema.ts';
import { parseYaml } from './yaml.ts';
import { TEXTS } from './texts.ts';
import { keyAdviser } from './unknown-key.ts';

const FORM = /^(?:\S+\s+){4,5}\S+$|^@[a-z]+$/i;

/**
 * A cron expression of five fields, or six with seconds first, that is due at some time from now
 * on. Throws a `ConfigError`.
 */
function parseCron(text: string): string {
  if (!FORM.test(text.trim()))
    throw new ConfigError([TEXTS.notThis({ advice: TEXTS.cronForm, text })]);
  if (!findNextRun(text.trim())) throw new ConfigError([TEXTS.cronNever({ text })]);
  return text.trim();
}

function findNextRun(text: string): Date | null {
  try {
    return new Cron(text, { paused: true, mode: '5-or-6-parts' }).nextRun();
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    const fault = error.message.replace(/^CronPattern: /, '');
    throw new ConfigError([TEXTS.cronFault({ advice: TEXTS.cronForm, fault })], { cause: error });
  }
}

/** The name of a time zone that has rules, not only an offset. Throws a `ConfigError`. */
function parseTimeZone(text: string): string {
  if (/^[A-Z]/i.test(text) && isKnown(text)) return text;
  throw new ConfigError([TEXTS.notThis({ advice: TEXTS.timeZone, text })]);
}

function isKnown(timeZone: string): boolean {
  try {
    Intl.DateTimeFormat('en', { timeZone });
    return true;
  } catch {
    return false;
  }
}

const DAY = 86_400_000;
const MAX_WINDOW_MS = 31 * DAY;

const cron = z.string(TEXTS.cron).meta({ title: 'cron' }).transform(converted(parseCron));

/** The `sync` key. Absent and `~` are the same: nothing is fetched ahead of demand. */
export function syncSchema(source: Source) {
  const rules = z.array(ruleSchema(source));
  return z
    .strictObject({
      files: z
        .array(
          z
            .string()
            .meta({ title: 'file or pattern' })
            .transform(converted(readFiles(source))),
        )
        .prefault([])
        .describe('Files of { defaults, rules } that are added to these; patterns as well.'),
      schedule: cron.prefault('0 * * * *').describe('When runs begin; cron.'),
      timezone: z
        .string()
        .meta({ title: 'time zone' })
        .transform(converted(parseTimeZone))
        .exactOptional()
        .describe("Time zone of schedule and windows. Left out: the machine's."),
      windows: z
        .array(windowSchema())
        .default([])
        .describe('Bytes are fetched only inside of these. Left out: at any time.'),
      bandwidth: rate(TEXTS.syncRate)
        .exactOptional()
        .describe('Most bytes a second of all that sync fetches. Left out: no limit.'),
      jitter: duration
        .refine((ms) => ms <= DAY, TEXTS.atMost({ limit: '24h' }))
        .prefault('0s')
        .describe('A run begins up to this much later.'),
      concurrency: z
        .int(TEXTS.asCount)
        .min(1, TEXTS.asCount)
        .default(4)
        .describe('Images of one upstream at a time.'),
      releaseShare: shareSchema
        .prefault('20%')
        .describe('Most of what was held that one run may release.'),
      defaults: ruleDefaultsSchema.describe('What rules have that do not say it themselves.'),
      rules: rules.prefault([]).describe('What must be held.'),
    })
    .transform(({ files, defaults, rules: own, bandwidth, jitter, ...rest }) => {
      // A file that two entries name counts once.
      const added = new Map(files.flat().map((file) => [file.path, file]));
      const sources = [{ defaults, rules: own, path: 'sync.rules' }, ...added.values()];
      return {
        ...rest,
        ...(bandwidth !== undefined && { bytesPerSecond: bandwidth }),
        jitterMs: jitter,
        rules: sources.flatMap((rulesOf) => completeRules(rulesOf, defaults)),
      };
    })
    .nullish()
    .transform((value) => value ?? undefined);
}

/** The `sync` key with its files: what a site must hold and when it is fetched. */
export type SyncConfig = Frozen<NonNullable<z.output<ReturnType<typeof syncSchema>>>>;

function windowSchema() {
  return z
    .strictObject({
      opens: cron.describe('When it opens; cron.'),
      for: duration
        .refine((ms) => ms > 0, TEXTS.windowNeverOpens)
        .refine((ms) => ms <= MAX_WINDOW_MS, TEXTS.atMost({ limit: TEXTS.windowAtMost }))
        .describe('How long it stays open, in real time.'),
    })
    .transform(({ opens, for: forMs }) => ({ opens, forMs }));
}

function fileSchema(source: Source) {
  return z.strictObject(
    { defaults: ruleDefaultsSchema, rules: z.array(ruleSchema(source)).default([]) },
    { error: ({ code }) => (code === 'invalid_type' ? TEXTS.syncFile : undefined) },
  );
}

interface SyncFile {
  readonly path: string;
  /** As messages call it: relative to the configuration where it is below it. */
  readonly name: string;
}

/**
 * Reads the files of a path, or of a glob in the order of their names. Throws a `ConfigError` with
 * every problem. A glob without a file is one too: without their rules, images would be released.
 */
function readFiles(source: Source): (pattern: string) => RuleSource[] {
  const { directory } = source;
  const schema = fileSchema(source);
  return (pattern) => {
    const found = isGlob(pattern) ? globSync(pattern, { cwd: directory }) : [pattern];
    if (found.length === 0) throw new ConfigError([TEXTS.noFileMatches({ pattern })]);
    const files = found.map((each): SyncFile => {
      const path = resolve(directory, each);
      const below = relative(directory, path);
      return { path, name: below.startsWith('..') ? path : below };
    });
    const sorted = files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
    const documents = forEachFile(sorted, ({ path }) => parseYaml(readTextFile(path)));
    return forEachFile(sorted, ({ name }, position) => {
      const { data, error } = schema.safeParse(documents[position], {
        error: describeIssue,
        reportInput: true,
      });
      if (data) return { ...data, path: `${name}: rules` };
      throw new ConfigError(describeProblems(error.issues, keyAdviser({ schema, root: ['sync'] })));
    });
  };
}

/** Throws the problems of all files together. */
function forEachFile<Result>(
  files: readonly SyncFile[],
  convert: (file: SyncFile, position: number) => Result,
): Result[] {
  const problems: string[] = [];
  const results = files.flatMap((file, position) => {
    try {
      return [convert(file, position)];
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      for (const text of error.problems) {
        problems.push(text.includes(file.path) ? text : `${file.name}: ${text}`);
      }
      return [];
    }
  });
  if (problems.length > 0) throw new ConfigError(problems);
  return results;
}
