import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { createLog, lookOf, type Log } from '../observe/log.ts';
import {
  EXIT_CODE,
  StopSignals,
  type CommandContext,
  type CommandOptions,
} from './command-context.ts';
import { tellingWhy } from './start-failure.ts';

/** What `serve` needs of the server; a test gives its own. */
export interface ServeParts {
  readonly log: Log;
  readonly start: (config: Config, options: { log: Log }) => Promise<Server>;
}

interface Server {
  close(): Promise<void>;
}

/** Runs until a signal; resolves with the exit code when everything is closed. */
export async function serve(
  options: CommandOptions,
  context: CommandContext,
  { log: given, start = startServer }: Partial<ServeParts> = {},
): Promise<number> {
  const { config, warnings, file } = loadConfig({ file: options.config, ...context });
  const { level } = config.log;
  const log = given ?? createLog({ level, look: lookOf(context.stdout, context.env) });
  using stop = new StopSignals(context, config);
  log.info({ file }, file === undefined ? 'starting on defaults' : 'starting');
  for (const warning of warnings) log.warn({ file }, warning);
  const server = await tellingWhy(async () => start(config, { log }), {
    ...config,
    uid: context.uid,
  });
  log.info({ signal: await stop.first }, 'stopping');
  await server.close();
  log.info('stopped');
  return EXIT_CODE.ok;
}

/** The server and its modules are loaded only when needed, so that `config check` starts in an instant. */
const startServer: ServeParts['start'] = async (config, options) => {
  const server = await import('../server.ts');
  return server.startServer(config, options);
};
