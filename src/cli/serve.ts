import type { Config } from '../config/config.ts';
import { loadConfig, type LoadedConfig } from '../config/load.ts';
import { createLog, logFormatOf, type Log } from '../observe/log.ts';
import { RegistryError } from '../oci/errors.ts';
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
  readonly start: (
    config: Config,
    options: { log: Log; load: () => LoadedConfig },
  ) => Promise<Server>;
}

interface Server {
  reload(): unknown;
  close(): Promise<void>;
}

/**
 * Runs until a signal to stop; resolves with the exit code when everything is closed. SIGHUP has the
 * configuration read again; at a terminal it means that this is gone, and with it who could stop the server.
 */
export async function serve(
  options: CommandOptions,
  context: CommandContext,
  { log: given, start = startServer }: Partial<ServeParts> = {},
): Promise<number> {
  const { config, warnings, file } = loadConfig({ file: options.config, ...context });
  // A file that is gone is an error from now on, and not the defaults.
  let known = file ?? options.config;
  const load = (): LoadedConfig => {
    const loaded = loadConfig({ ...context, file: known });
    known = loaded.file;
    return loaded;
  };
  const { level } = config.log;
  const log = given ?? createLog({ level, format: logFormatOf(context.stdout, context.env) });
  const { isTTY = false } = context.stdout;
  using stop = new StopSignals(context, config, isTTY ? undefined : ['SIGTERM', 'SIGINT']);
  using hangUp = isTTY ? undefined : new HangUp(context);
  log.info({ file }, file === undefined ? 'starting on defaults' : 'starting');
  for (const warning of warnings) log.warn({ file }, warning);
  const server = await tellingWhy(async () => start(config, { log, load }), {
    ...config,
    uid: context.uid,
  });
  hangUp?.does(() => server.reload());
  log.info({ signal: await stop.first }, 'stopping');
  await server.close();
  log.info('stopped');
  return EXIT_CODE.ok;
}

/** SIGHUP: before the server runs it waits, and counts once. */
class HangUp implements Disposable {
  readonly #signals: CommandContext['signals'];
  #isDue = false;
  #reload = (): void => {
    this.#isDue = true;
  };
  readonly #listener = (): void => this.#reload();

  constructor({ signals }: Pick<CommandContext, 'signals'>) {
    this.#signals = signals;
    signals.on('SIGHUP', this.#listener);
  }

  /** The log has said what is wrong when it is refused. */
  does(reload: () => unknown): void {
    this.#reload = () => {
      try {
        reload();
      } catch (error) {
        if (!(error instanceof RegistryError)) throw error;
      }
    };
    if (this.#isDue) this.#reload();
  }

  [Symbol.dispose](): void {
    this.#signals.off('SIGHUP', this.#listener);
  }
}

/** The server and its modules are loaded only when needed, so that `config check` starts in an instant. */
const startServer: ServeParts['start'] = async (config, options) => {
  const server = await import('../server.ts');
  return server.startServer(config, options);
};
