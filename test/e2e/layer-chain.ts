import { createHash } from 'node:crypto';

/** What engines call the files of all these layers on top of each other (the image spec's ChainID). */
export function chainId(diffIds: readonly string[]): string {
  return diffIds.reduce((chain, diffId) => {
    const hex = createHash('sha256').update(`${chain} ${diffId}`).digest('hex');
    return `sha256:${hex}`;
  });
}
