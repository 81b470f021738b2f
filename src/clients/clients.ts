import { BUILDKIT_PLACES, describeBuildkit } from './buildkit.ts';
import { describeContainerd, objectionsOfContainerd, placesOfContainerd } from './containerd.ts';
import {
  CONTAINERS_PLACES,
  describeCrio,
  describePodman,
  objectionsOfContainers,
} from './containers.ts';
import { describeDocker, DOCKER_PLACES, shadowsOfDocker } from './docker.ts';
import { describeKaniko } from './kaniko.ts';
import type { ClientKind } from './client-kinds.ts';
import type { MirrorPlace } from './mirror-place.ts';
import { NodeFiles } from './node-files.ts';
import {
  displace,
  hasOurs,
  isInPlace,
  place,
  type Placement,
  type RefusedFile,
} from './placing.ts';
import {
  describeRancher,
  objectionsOfRancher,
  placesOfRancher,
  type RancherKind,
} from './rancher.ts';
import type { ClientFile, Recipe } from './recipe.ts';
import { describeTalos } from './talos.ts';
import { TEXTS } from './texts.ts';

interface Kind {
  readonly describe: (mirror: MirrorPlace, node?: NodeFiles) => Recipe;
  /** Where ours may be on a node; left out, nowhere. */
  readonly places?: (node: NodeFiles) => readonly string[];
  /** Why the client would not heed ours, or would no longer heed what is there: nothing is written then. */
  readonly objections?: (node: NodeFiles, mirror: MirrorPlace) => RefusedFile[];
  /** What is not in force although it is in place. */
  readonly shadows?: (node: NodeFiles, mirror: MirrorPlace) => RefusedFile[];
}

const KINDS = {
  docker: { describe: describeDocker, places: () => DOCKER_PLACES, shadows: shadowsOfDocker },
  containerd: {
    describe: describeContainerd,
    places: placesOfContainerd,
    objections: objectionsOfContainerd,
  },
  crio: containers(describeCrio),
  podman: containers(describePodman),
  buildkit: { describe: describeBuildkit, places: () => BUILDKIT_PLACES },
  k3s: rancher('k3s'),
  rke2: rancher('rke2'),
  talos: { describe: describeTalos },
  kaniko: { describe: describeKaniko },
} as const satisfies Readonly<Record<ClientKind, Kind>>;

function containers(describe: Kind['describe']): Kind {
  return { describe, places: () => CONTAINERS_PLACES, objections: objectionsOfContainers };
}

function rancher(kind: RancherKind): Kind {
  return {
    describe: (mirror) => describeRancher(kind, mirror),
    places: () => placesOfRancher(kind),
    objections: (node) => objectionsOfRancher(kind, node),
  };
}

/** A file of the node, and why it is not in force where it is not. */
export interface CheckedFile {
  readonly path: string;
  readonly isInForce: boolean;
  readonly reason?: string;
}

/** What a kind of client needs to pull through this mirror: as ever, or as this node has its folders. */
export function describeClient(kind: ClientKind, mirror: MirrorPlace, node?: NodeFiles): Recipe {
  const { describe }: Kind = KINDS[kind];
  const { notes, ...recipe } = describe(mirror, node);
  return { ...recipe, notes: [...mirror.notes, ...notes] };
}

export function openNode(root: string): NodeFiles {
  return new NodeFiles(root);
}

/** Whether it reads files of the node at all. */
export function isPlaceable(kind: ClientKind): boolean {
  const { places }: Kind = KINDS[kind];
  return places !== undefined;
}

/** Brings ours into the files of a node, or refuses and changes none of them. */
export function writeClient(kind: ClientKind, mirror: MirrorPlace, node: NodeFiles): Placement {
  const { places, objections }: Kind = KINDS[kind];
  const refused = objections?.(node, mirror) ?? [];
  if (refused.length > 0) return { files: [], refused };
  return place(describeClient(kind, mirror, node).files, places?.(node) ?? [], node);
}

/** Takes ours out of the files of a node again. */
export function removeClient(kind: ClientKind, node: NodeFiles): Placement {
  const { places }: Kind = KINDS[kind];
  return displace(places?.(node) ?? [], node);
}

/** Which of the files of a node are in force. */
export function checkClient(kind: ClientKind, mirror: MirrorPlace, node: NodeFiles): CheckedFile[] {
  const { objections, shadows }: Kind = KINDS[kind];
  const all = [...(objections?.(node, mirror) ?? []), ...(shadows?.(node, mirror) ?? [])];
  const { files } = describeClient(kind, mirror, node);
  const checked = files.map((file) => {
    const { path } = file;
    const reason = faultOf(file, node) ?? all.find((other) => other.path === path)?.reason;
    return { path, isInForce: reason === undefined, ...(reason !== undefined && { reason }) };
  });
  const others = all.filter(({ path }) => !files.some((file) => file.path === path));
  return [...checked, ...others.map(({ path, reason }) => ({ path, isInForce: false, reason }))];
}

/** What is wrong with a file of ours; `undefined` when it is as it would be written now. */
function faultOf(file: ClientFile, node: NodeFiles): string | undefined {
  if (!node.has(file.path)) return TEXTS.missing;
  if (isInPlace(file, node)) return undefined;
  return hasOurs(file.path, node) ? TEXTS.different : TEXTS.notWritten;
}
