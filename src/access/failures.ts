import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';

interface Count {
  readonly failures: number;
  /** A moment of the steady clock: then it begins anew. */
  readonly until: number;
}

const WINDOW_MS = 60_000;
/** Of one account from one network. */
const MAX_OF_PAIR = 10;
/** Of all accounts from one network, which may be that of a whole site behind one address. */
const MAX_OF_NETWORK = 300;
/** Pairs, and networks, that are known at a time: some 200 bytes each. */
const MAX_COUNTED = 10_000;

/**
 * How many wrong passwords came in a minute: ten of an account from one network, so that nobody locks out another's
 * account, and 300 of all accounts together, so that nobody tries one password with each of them. An attempt counts
 * from its beginning, so that many at once are no more.
 */
export class Failures {
  static readonly WINDOW_SECONDS = WINDOW_MS / 1000;

  readonly #clock: Clock;
  readonly #pairs: ExpiringMap<string, Count>;
  readonly #networks: ExpiringMap<string, Count>;
  /** Pairs whose network has no more to try. */
  readonly #refused: ExpiringMap<string, Count>;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#pairs = new ExpiringMap({ max: MAX_COUNTED, clock });
    this.#networks = new ExpiringMap({ max: MAX_COUNTED, clock });
    this.#refused = new ExpiringMap({ max: MAX_COUNTED, clock });
  }

  /** Whether one more may be tried; it counts as a failure then, unless it is taken back. */
  begin(account: string, network: string): boolean {
    const pair = pairOf(account, network);
    const isFree =
      (this.#pairs.get(pair)?.failures ?? 0) < MAX_OF_PAIR && !this.#isCrowded(network);
    if (isFree) this.#add(pair, network, 1);
    return isFree;
  }

  /** Whether more of an account were tried from there than are looked at, those that were refused included. */
  isSpent(account: string, network: string): boolean {
    const pair = pairOf(account, network);
    const counts = [this.#pairs, this.#refused].map((map) => map.get(pair)?.failures ?? 0);
    return counts.reduce((one, other) => one + other) >= MAX_OF_PAIR;
  }

  /** One was tried that is not looked at. To be told only of accounts that there are: they are so many. */
  refuse(account: string, network: string): void {
    const until = this.#networks.get(network)?.until;
    // Nobody may tell afterwards by what is free again which accounts there are: both end at once.
    if (until !== undefined && this.#isCrowded(network)) {
      this.#addTo(this.#refused, pairOf(account, network), { change: 1, until });
    }
  }

  /** It was right. */
  takeBack(account: string, network: string): void {
    this.#add(pairOf(account, network), network, -1);
  }

  #isCrowded(network: string): boolean {
    return (this.#networks.get(network)?.failures ?? 0) >= MAX_OF_NETWORK;
  }

  #add(pair: string, network: string, change: number): void {
    const until = this.#clock.steady() + WINDOW_MS;
    this.#addTo(this.#pairs, pair, { change, until });
    this.#addTo(this.#networks, network, { change, until });
  }

  /** What has no count yet has one until then. */
  #addTo(
    map: ExpiringMap<string, Count>,
    key: string,
    { change, until: end }: { readonly change: number; readonly until: number },
  ): void {
    const { failures, until } = map.get(key) ?? { failures: 0, until: end };
    const count = { failures: Math.max(0, failures + change), until };
    map.set(key, count, until - this.#clock.steady());
  }
}

/** As short whatever an account is called: those that nobody has are counted, too. */
function pairOf(account: string, network: string): string {
  return `${network} ${createHash('sha256').update(account).digest('base64')}`;
}

/** Of an IPv6 address that of its subnet, all of whose 2^64 addresses one machine may have. */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [front = '', back] = (address.split('%', 1)[0] ?? '').split('::');
  const groups = front === '' ? [] : front.split(':');
  const missing = back === undefined ? 0 : 8 - groups.length - groupsOf(back);
  const all = [
    ...groups,
    ...Array.from({ length: missing }, () => '0'),
    ...(back ?? '').split(':'),
  ];
  const subnet = all.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${subnet.join(':')}::/64`;
}

/** An IPv4 address at the end is two of them. */
function groupsOf(text: string): number {
  if (text === '') return 0;
  return text.split(':').length + (text.includes('.') ? 1 : 0);
}
