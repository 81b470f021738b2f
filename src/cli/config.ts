import { ConfigError } from '../config/problems.ts';
import { describeConfig } from '../config/describe-config.ts';
import { findAccessProblems, findClientWarnings } from '../config/access-findings.ts';
import { findAdmissionFindings } from '../config/admission-findings.ts';
import { findOpenFiles } from '../config/open-files.ts';
import { loadConfig } from '../config/load.ts';
import { configJsonSchema } from '../config/schema.ts';
import { formatYaml } from '../config/yaml.ts';
import {
  EXIT_CODE,
  print,
  printJson,
  type CommandContext,
  type CommandOptions,
} from './command-context.ts';

/**
 * Prints what is in force, and beside it what a server would not look at: the modes of files, the age of a trust
 * root, and clients that do not obey. Rules that give nothing to anybody are a problem here, while a server starts
 * with them and refuses all. With `--json` what is wrong is printed there too, else it is thrown.
 */
export function checkConfig(options: CommandOptions, context: CommandContext): number {
  try {
    const { config, file, warnings: found } = loadConfig({ file: options.config, ...context });
    const problems = findAccessProblems(config);
    if (problems.length > 0)
      throw new ConfigError(problems, { ...(file !== undefined && { file }) });
    const warnings = [
      ...found,
      ...findClientWarnings(config),
      ...findAdmissionFindings(config, Date.now()),
      ...findOpenFiles(config),
    ];
    const inForce = describeConfig(config);
    const origin = file === undefined ? 'No file: the defaults are' : `${file} is valid. This is`;
    print(
      options,
      context,
      { valid: true, file: file ?? null, warnings, config: inForce },
      () => `# ${origin} in force.\n${formatYaml(inForce)}`,
    );
    if (options.json) return EXIT_CODE.ok;
    for (const warning of warnings) context.stderr.write(`warning: ${warning}\n`);
    return EXIT_CODE.ok;
  } catch (error) {
    if (!options.json || !(error instanceof ConfigError)) throw error;
    const { file = null, problems } = error;
    printJson({ valid: false, file, problems }, context);
    return EXIT_CODE.config;
  }
}

/** The JSON Schema of the file, for editors. */
export function printConfigSchema(_: CommandOptions, context: CommandContext): number {
  printJson(configJsonSchema(), context);
  return EXIT_CODE.ok;
}
