import type { AccountStatus, CacheStatus, ServerStatus } from '../api/status-api.ts';
import type { StoreSummary } from '../api/store-api.ts';
import { formatDuration, formatByteSize } from '../config/quantity.ts';
import { formatListenAddress } from '../config/listen.ts';
import { loadConfig } from '../config/load.ts';
import { adminOf, askAdmin, askStatus, hasOurStore } from './admin-client.ts';
import { count, formatAge, formatLabelled, formatTable, onOneLine, roundSize } from './format.ts';
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
  const status = await askStatus(adminOf(config));
  if (!(await hasOurStore(status, config, context))) {
    const address = formatListenAddress(config.admin);
    throw new AdminError(
      TEXTS.otherStore({ address, path: status.store.path, own: config.store.path }),
    );
  }
  const store = (await askAdmin(adminOf(config), '/api/v1/store')) as StoreSummary;
  const isDown = status.upstreams.some(({ state }) => state === 'down');
  print(options, context, { ...status, store }, (columns) =>
    describe(status, store, { columns, now: context.now() }),
  );
  return isDown || store.state !== 'ok' ? EXIT_CODE.failed : EXIT_CODE.ok;
}

function describe(
  status: ServerStatus,
  store: StoreSummary,
  { columns, now }: { columns: number | undefined; now: number },
): string {
  const { version, uptimeSeconds, offline, downloads, upstreams } = status;
  const rows = upstreams.flatMap(({ name, state, since, reason, accounts }) => {
    const bare = state === 'unknown' ? 'unknown: no answer yet' : state;
    const what =
      since === undefined ? bare : `${state} since ${new Date(since).toISOString()}: ${reason}`;
    const quotas = accounts.length === 0 ? [['', '']] : accounts.map(describeAccount);
    return quotas.map((quota, row) => (row === 0 ? [name, ...quota, what] : ['', ...quota, '']));
  });
  return [
    formatLabelled(
      '',
      `entrepot ${version}${offline ? ', offline' : ''}, up ${formatUptime(uptimeSeconds)}, ${count(downloads, 'download')} running`,
      columns,
    ),
    formatLabelled('', describeStore(store), columns),
    formatLabelled('', describeCache(status.cache), columns),
    ...(status.sync ? [formatLabelled('', describeSync(status.sync, now), columns)] : []),
    `${formatTrouble(store, columns)}\n`,
    formatTable([['UPSTREAM', 'ACCOUNT', 'QUOTA', 'STATE'], ...rows], columns),
  ].join('');
}

/** In its two largest units. */
function formatUptime(seconds: number): string {
  const least = seconds >= 86_400 ? 3600 : seconds >= 3600 ? 60 : 1;
  return formatSeconds(seconds - (seconds % least));
}

function describeStore({ path, blobs, bytes, maxBytes, freeBytes }: StoreSummary): string {
  const free = freeBytes === undefined ? '' : `, ${roundSize(freeBytes)} of its disk free`;
  return `store ${path}: ${count(blobs, 'blob')}, ${roundSize(bytes)} of ${formatByteSize(maxBytes)}${free}`;
}

function describeCache({ requests, hitRatio }: CacheStatus): string {
  if (hitRatio === undefined) return TEXTS.noRequests;
  const percent = (100 * hitRatio).toFixed(1);
  return TEXTS.hitRatio({ percent, requests: count(requests, 'request') });
}

function describeSync({ isRunning, last }: NonNullable<ServerStatus['sync']>, now: number): string {
  const running = isRunning ? ', and one is under way' : '';
  if (!last) return `sync: ${TEXTS.noRun}${running}`;
  const { fetched, kept, failed } = last.images;
  const end = last.isOk ? 'ok' : (last.aborted ?? 'failed');
  const images = `${count(fetched, 'image')} fetched, ${kept} kept, ${failed} failed`;
  return `sync: last run ${formatAge(last.endedAt, now)}, ${end}: ${images}${running}`;
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
