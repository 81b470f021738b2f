import { ConfigError } from '../config/problems.ts';
import { describeConfig } from '../config/describe-config.ts';
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

/** Prints what is in force. With `--json` what is wrong is printed there too, else it is thrown. */
export function checkConfig(options: CommandOptions, context: CommandContext): number {
  try {
    const { config, warnings, file } = loadConfig({ file: options.config, ...context });
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
