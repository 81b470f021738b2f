import { ConfigError } from '../config/config-error.ts';
import { describeConfig } from '../config/describe-config.ts';
import { configJsonSchema } from '../config/json-schema.ts';
import { loadConfig } from '../config/load.ts';
import { formatYaml } from '../config/yaml.ts';
import type { CommandContext } from './command-context.ts';
import { EXIT_CODE } from './exit-code.ts';
import { printJson } from './print-json.ts';

export interface CheckOptions {
  readonly config?: string;
  readonly json?: boolean;
}

/** Prints what is in force. With `--json` what is wrong is printed there too, else it is thrown. */
export function checkConfig(options: CheckOptions, context: CommandContext): number {
  try {
    const { config, warnings, file } = loadConfig({ file: options.config, ...context });
    const inForce = describeConfig(config);
    if (options.json) {
      printJson({ valid: true, file: file ?? null, warnings, config: inForce }, context);
      return EXIT_CODE.ok;
    }
    const origin = file === undefined ? 'No file: the defaults are' : `${file} is valid. This is`;
    context.stdout.write(`# ${origin} in force.\n${formatYaml(inForce)}`);
    for (const warning of warnings) context.stderr.write(`warning: ${warning}\n`);
    return EXIT_CODE.ok;
  } catch (error) {
    if (!options.json || !(error instanceof ConfigError)) throw error;
    printJson({ valid: false, file: error.file ?? null, problems: error.problems }, context);
    return EXIT_CODE.config;
  }
}

/** The JSON Schema of the file, for editors. */
export function printConfigSchema(context: CommandContext): number {
  printJson(configJsonSchema(), context);
  return EXIT_CODE.ok;
}
