import type { Finding, UpstreamReport } from '../api/status-api.ts';
import type { CheckupOptions } from '../upstream/checkup/checkup.ts';
import type { CheckedImage } from '../upstream/checkup/registry-check.ts';
import { DOCKER_HUB } from '../config/registries.ts';
import { Addressing } from '../mirror/addressing.ts';
import { DEFAULT_TAG } from '../oci/reference.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { RegistryError } from '../oci/errors.ts';
import { count, formatLabelled } from './format.ts';
import {
  EXIT_CODE,
  UsageError,
  columnsOf,
  print,
  printText,
  type CommandContext,
  type CommandOptions,
} from './command-context.ts';

/** Pulled by everybody, so that it may be asked for when no image is named. */
const HUB_IMAGE = 'docker.io/library/alpine:latest';

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
      if (!options.json) printText(`${formatReport(report, columnsOf(context.stdout))}\n`, context);
      reports.push(report);
    }
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    throw new UsageError(error.message, { cause: error });
  }
  const isOk = countIn(reports, 'failed') === 0;
  print(options, context, { upstreams: reports, ok: isOk }, () => formatSummary(reports));
  return isOk ? EXIT_CODE.ok : EXIT_CODE.failed;
}

/** The module that dials is loaded only when it is needed. */
async function* examine(
  config: Config,
  images: readonly string[],
  options: CheckupOptions,
): AsyncGenerator<UpstreamReport> {
  const wanted = resolveImages(config, images);
  const { examineUpstreams } = await import('../upstream/checkup/checkup.ts');
  yield* examineUpstreams(config, wanted, options);
}

/** By upstream, as the mirror would look them up. */
function resolveImages(config: Config, images: readonly string[]): Map<string, CheckedImage[]> {
  const addressing = new Addressing(config);
  const wanted = new Map<string, CheckedImage[]>();
  for (const image of images) {
    const { upstream, ...rest } = resolveImage(addressing, image);
    wanted.set(upstream, [...(wanted.get(upstream) ?? []), rest]);
  }
  if (config.upstreams[DOCKER_HUB] && !wanted.has(DOCKER_HUB)) {
    wanted.set(DOCKER_HUB, defaultImages(addressing));
  }
  return wanted;
}

function defaultImages(addressing: Addressing): CheckedImage[] {
  try {
    const { repository, reference } = resolveImage(addressing, HUB_IMAGE);
    return [{ repository, reference, isDefault: true }];
  } catch (error) {
    // The site does not allow it.
    if (error instanceof RegistryError) return [];
    throw error;
  }
}

/** No tag is `latest`. */
function resolveImage(
  addressing: Addressing,
  image: string,
): CheckedImage & { readonly upstream: string } {
  const { target, tag = DEFAULT_TAG, digest } = addressing.resolveImage(image);
  return { ...target, reference: digest ?? tag };
}

function formatReport({ name, url, checks }: UpstreamReport, columns: number | undefined): string {
  return `${name} (${url})\n${checks.map((finding) => formatFinding(finding, columns)).join('')}`;
}

/** One line: `  failed   connection  what is wrong -> what to do`. */
function formatFinding(
  { check, state, detail, advice }: Finding,
  columns: number | undefined,
): string {
  const action = advice === undefined ? '' : ` -> ${advice}`;
  return formatLabelled(
    `  ${state.padEnd(7)}  ${check.padEnd(10)}  `,
    `${detail}${action}`,
    columns,
  );
}

function formatSummary(reports: readonly UpstreamReport[]): string {
  const tell = (state: Finding['state']): string => `${countIn(reports, state)} ${state}`;
  const states = [tell('ok'), tell('warning'), tell('failed'), tell('skipped')];
  return `${count(reports.length, 'upstream')}: ${states.join(', ')}\n`;
}

function countIn(reports: readonly UpstreamReport[], state: Finding['state']): number {
  return reports.flatMap(({ checks }) => checks).filter((check) => check.state === state).length;
}
