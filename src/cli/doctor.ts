import type { Finding, UpstreamReport } from '../api/doctor-api.ts';
import type { CheckupOptions } from '../checkup.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { RegistryError } from '../oci/errors.ts';
import { print, type CommandContext, type CommandOptions } from './command-context.ts';
import { count } from './format.ts';
import { EXIT_CODE, UsageError } from './outcome.ts';

/** Examines every upstream of the configuration; 1 when something failed. */
export async function doctor(
  images: readonly string[],
  options: CommandOptions,
  context: CommandContext,
  checkup: CheckupOptions = {},
): Promise<number> {
  const { config } = loadConfig({ file: options.config, ...context });
  const reports: UpstreamReport[] = [];
  try {
    for await (const report of examine(config, images, checkup)) {
      if (!options.json) context.stdout.write(`${formatReport(report)}\n`);
      reports.push(report);
    }
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    const { message, detail } = error;
    const reason = typeof detail === 'string' ? `${message}: ${detail}` : message;
    throw new UsageError(reason, { cause: error });
  }
  const isOk = countIn(reports, 'failed') === 0;
  print(options, context, {
    document: { upstreams: reports, ok: isOk },
    text: () => formatSummary(reports),
  });
  return isOk ? EXIT_CODE.ok : EXIT_CODE.failed;
}

/** What dials, loaded only when it is wanted. */
async function* examine(
  config: Config,
  images: readonly string[],
  options: CheckupOptions,
): AsyncGenerator<UpstreamReport> {
  const { examineUpstreams } = await import('../checkup.ts');
  yield* examineUpstreams(config, images, options);
}

function formatReport({ name, url, checks }: UpstreamReport): string {
  return `${name} (${url})\n${checks.map(formatFinding).join('')}`;
}

/** One line: `  failed   connection  what is wrong -> what to do`. */
function formatFinding({ check, state, detail, advice }: Finding): string {
  const action = advice === undefined ? '' : ` -> ${advice}`;
  return `  ${state.padEnd(7)}  ${check.padEnd(10)}  ${detail}${action}\n`;
}

function formatSummary(reports: readonly UpstreamReport[]): string {
  const tell = (state: Finding['state']): string => `${countIn(reports, state)} ${state}`;
  const states = [tell('ok'), tell('warning'), tell('failed'), tell('skipped')];
  return `${count(reports.length, 'upstream')}: ${states.join(', ')}\n`;
}

function countIn(reports: readonly UpstreamReport[], state: Finding['state']): number {
  return reports.flatMap(({ checks }) => checks).filter((check) => check.state === state).length;
}
