import { describeBuildkit } from './buildkit.ts';
import { describeContainerd } from './containerd.ts';
import { describeCrio, describePodman } from './containers.ts';
import { describeDocker } from './docker.ts';
import { describeKaniko } from './kaniko.ts';
import type { MirrorPlace } from './mirror-place.ts';
import { describeRancher } from './rancher.ts';
import type { Describe, Recipe } from './recipe.ts';
import { describeTalos } from './talos.ts';

const KINDS = {
  docker: describeDocker,
  containerd: (mirror) => describeContainerd(mirror),
  crio: describeCrio,
  podman: describePodman,
  buildkit: describeBuildkit,
  k3s: (mirror) => describeRancher('k3s', mirror),
  rke2: (mirror) => describeRancher('rke2', mirror),
  talos: describeTalos,
  kaniko: describeKaniko,
} as const satisfies Readonly<Record<string, Describe>>;

export type ClientKind = keyof typeof KINDS;

export const CLIENT_KINDS = Object.keys(KINDS) as readonly ClientKind[];

/** What a kind of client needs to pull through this mirror. */
export function describeClient(kind: ClientKind, mirror: MirrorPlace): Recipe {
  const { notes, ...recipe } = KINDS[kind](mirror);
  return { ...recipe, notes: [...mirror.notes, ...notes] };
}
