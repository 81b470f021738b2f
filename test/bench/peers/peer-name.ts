/** Those that `--peer NAME=PATH` can bring. */
export const PEER_NAMES = ['distribution', 'zot'] as const;

export type PeerName = (typeof PEER_NAMES)[number];
