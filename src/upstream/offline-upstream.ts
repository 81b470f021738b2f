import type { Upstream } from './upstream.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import { TEXTS } from './texts.ts';

/** The upstream of a mirror that is set offline. It has no code that could open a connection. */
export function createOfflineUpstream(name: string): Upstream {
  const refuse = async (): Promise<never> => {
    throw new UpstreamError(name, 'offline', TEXTS.offline);
  };
  return {
    name,
    status: { state: 'offline', accounts: [] },
    isSilent: async () => true,
    watch: () => () => {},
    headManifest: refuse,
    getManifest: refuse,
    misledByHead: () => {},
    headBlob: refuse,
    getBlob: refuse,
    listTags: refuse,
    listReferrers: refuse,
    listRepositories: refuse,
    close: async () => {},
  };
}
