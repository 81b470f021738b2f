import type { AccountStatus, ServerStatus } from '../api/status-api.ts';
import type { StoreSummary } from '../api/store-api.ts';
import { formatDuration, formatByteSize } from '../config/quantity.ts';
import { formatListenAddress } from '../config/listen.ts';
import { loadConfig } from '../config/load.ts';
import { askAdmin, hasOurStore } from './admin-client.ts';
import { formatLabelled, formatTable, onOneLine, roundSize } from './format.ts';
import {
  AdminError,
  EXIT_CODE,
  print,
  type CommandOptions,
  type StoreContext,
} from './command-context.ts';
import { TEXTS } from './texts.ts';

/** Prints how the running server does; 1 when an upstream is down or the store cannot keep all. */
export async function printStatus(options: CommandOptions, context: StoreContext): Promise<number> {
  const { config } = loadConfig({ file: options.config, ...context });
  const status = (await askAdmin(config.admin, '/api/v1/status')) as ServerStatus;
  if (!(await hasOurStore(status, config, context))) {
    const address = formatListenAddress(config.admin);
    throw new AdminError(
      TEXTS.otherStore({ address, path: status.store.path, own: config.store.path }),
    );
  }
  const store = (await askAdmin(config.admin, '/api/v1/store')) as StoreSummary;
  const isDown = status.upstreams.some(({ state }) => state === 'down');
  print(options, context, { ...status, store }, (columns) => describe(status, store, columns));
  return isDown || store.state !== 'ok' ? EXIT_CODE.failed : EXIT_CODE.ok;
}

function describe(status: ServerStatus, store: StoreSummary, columns: number | undefined): string {
  const { version, offline, downloads, upstreams } = status;
  const rows = upstreams.flatMap(({ name, state, since, reason, accounts }) => {
    const bare = state === 'unknown' ? 'unknown: no answer yet' : state;
    const what =
      since === undefined ? bare : `${state} since ${new Date(since).toISOString()}: ${reason}`;
    const quotas = accounts.length === 0 ? [['', '']] : accounts.map(describeAccount);
    return quotas.map((quota, row) => (row === 0 ? [name, ...quota, what] : ['', ...quota, '']));
  });
  return [
    `entrepot ${version}${offline ? ', offline' : ''}, ${downloads} downloads running\n`,
    formatLabelled(
      '',
      `store ${store.path}: ${store.blobs} blobs, ${roundSize(store.bytes)} of ${formatByteSize(store.maxBytes)}`,
      columns,
    ),
    `${formatTrouble(store, columns)}\n`,
    formatTable([['UPSTREAM', 'ACCOUNT', 'QUOTA', 'STATE'], ...rows], columns),
  ].join('');
}

/** Empty while the store is ok. */
function formatTrouble(
  { state, reason, since }: StoreSummary,
  columns: number | undefined,
): string {
  if (state === 'ok') return '';
  const start = since === undefined ? '' : ` since ${new Date(since).toISOString()}`;
  const cause = reason === undefined ? '' : `: ${reason}`;
  return formatLabelled('', `store ${state}${start}${cause}`, columns);
}

function describeAccount(account: AccountStatus): string[] {
  const { limit, remaining, windowSeconds, emptyInSeconds, blockedForSeconds, refused } = account;
  const words = [
    ...(refused
      ? [
          `login refused since ${new Date(refused.since).toISOString()}: ${onOneLine(refused.reason)}`,
        ]
      : []),
    ...(remaining === undefined ? [] : [`${remaining} of ${limit ?? '?'} left`]),
    ...(windowSeconds === undefined ? [] : [`in ${formatSeconds(windowSeconds)}`]),
    ...(emptyInSeconds === undefined ? [] : [`empty in ${formatSeconds(emptyInSeconds)}`]),
    ...(blockedForSeconds === undefined ? [] : [`blocked for ${formatSeconds(blockedForSeconds)}`]),
  ];
  return [account.account, words.length === 0 ? 'no limit told' : words.join(', ')];
}

function formatSeconds(seconds: number): string {
  return formatDuration(Math.round(seconds) * 1000);
}
