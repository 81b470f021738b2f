import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { UpstreamConfig } from '../../config/config.ts';
import { failed, ok, type Outcome } from './finding.ts';
import { endpointOf, firstHop, keyOf } from './subject.ts';

/** Whether the name to connect to has addresses, asked the way a connection asks. */
export async function checkName(config: UpstreamConfig): Promise<Outcome> {
  const { host } = endpointOf(firstHop(config));
  const isProxied = config.proxy !== undefined;
  const subject = isProxied ? `the proxy ${host}` : host;
  if (isIP(host) !== 0) return ok(`${subject} is an address`);
  try {
    const found = await lookup(host, { all: true });
    const addresses = [...new Set(found.map(({ address }) => address))];
    return ok(`${subject} is ${addresses.join(', ')}`);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown fault';
    const key = isProxied ? `${keyOf(config, 'proxy')} (or HTTPS_PROXY)` : keyOf(config, 'url');
    return failed(
      `${subject} has no address (${code})`,
      `check the spelling in ${key} and the DNS servers of this machine; ask them with: getent hosts ${host}`,
    );
  }
}
