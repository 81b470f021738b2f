import { hash, randomUUID } from 'node:crypto';
import { strikeShapes } from '../observe/secret-shapes.ts';

/** What clients and proxies make: UUIDs, ULIDs, trace ids, nginx's and Envoy's. */
const ID = /^[\w.:-]{1,128}$/;

/** The id of a request: that of who sends it, where it is one that a log can hold, else a new one. */
export function requestId(given: string): string {
  return ID.test(given) && strikeShapes(given) === given ? given : randomUUID();
}

/** Whether a share of all ids has this one; the same answer for the same id, here and elsewhere. */
export function isSampled(id: string, share: number): boolean {
  if (share === 0 || share === 1) return share === 1;
  return Number.parseInt(hash('sha256', id).slice(0, 8), 16) < share * 2 ** 32;
}
