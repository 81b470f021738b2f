import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { createLog, type Log } from '../observe/log.ts';
import type { CommandContext } from './command-context.ts';
import { EXIT_CODE } from './exit-code.ts';
import { explainStartFailure } from './start-failure.ts';
import { StopSignals } from './stop-signals.ts';

export interface ServeOptions {
  readonly config?: string;
  readonly json?: boolean;
}

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
  options: ServeOptions,
  context: CommandContext,
  { log = createLog(), start = startServer }: Partial<ServeParts> = {},
): Promise<number> {
  const { config, warnings, file } = loadConfig({ file: options.config, ...context });
  using stop = new StopSignals(context.signals, () => context.exit(EXIT_CODE.interrupted));
  log.info({ file }, file === undefined ? 'starting on defaults' : 'starting');
  for (const warning of warnings) log.warn({ file }, warning);
  let server: Server;
  try {
    server = await start(config, { log });
  } catch (error) {
    const reason = explainStartFailure(error, { ...config, uid: context.uid });
    if (reason === undefined) throw error;
    const line = options.json ? JSON.stringify({ error: reason }) : `entrepot: ${reason}`;
    context.stderr.write(`${line}\n`);
    return EXIT_CODE.failed;
  }
  log.info({ signal: await stop.first }, 'stopping');
  await server.close();
  log.info('stopped');
  return EXIT_CODE.ok;
}

/** The server and all it needs load only when it is wanted: `config check` starts in an instant. */
const startServer: ServeParts['start'] = async (config, options) => {
  const server = await import('../server.ts');
  return server.startServer(config, options);
};
