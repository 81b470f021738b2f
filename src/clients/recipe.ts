import type { MirrorPlace } from './mirror-place.ts';

/** How a file is written: what may stand around ours in it, and where ours goes. */
export type Format =
  /** Tables; ours behind all others. */
  | 'toml'
  /** As `toml`, with ours before the first table: the first host is asked first. */
  | 'toml-first'
  /** A map of maps. */
  | 'yaml'
  /** Lists of a JSON object. */
  | 'json'
  /** Certificates, one behind the other. */
  | 'pem'
  /** Not a file of the node: what is given to a tool. */
  | 'none';

/** A file as it would be on a node that has none yet. */
export interface ClientFile {
  /** Absolute on the node; a mere name for what is not kept there. */
  readonly path: string;
  readonly content: string;
  readonly format: Format;
}

/** What one kind of client needs to pull through a mirror. */
export interface Recipe {
  /** Those that others name come first. */
  readonly files: readonly ClientFile[];
  /** What to do once the files are in place. */
  readonly steps: readonly string[];
  readonly notes: readonly string[];
}

/** The mode of a new file: who pulls must read it, and nothing in it is secret. */
export const NEW_MODE = 0o644;

/** Where credentials go, where the mirror asks who pulls. No file has them: what is written is for all to read. */
export function loginStep({ hasAccess }: MirrorPlace, told: string): string[] {
  return hasAccess ? [told] : [];
}

/** The file with the mirror's authority, or none. */
export function caFile({ ca }: MirrorPlace, path: string): ClientFile[] {
  return ca === undefined ? [] : [{ path, content: ca, format: 'pem' }];
}
