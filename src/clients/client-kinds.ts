/** Who pulls through the mirror, by the names that the command knows them by. */
export const CLIENT_KINDS = [
  'docker',
  'containerd',
  'crio',
  'podman',
  'buildkit',
  'k3s',
  'rke2',
  'talos',
  'kaniko',
] as const;

export type ClientKind = (typeof CLIENT_KINDS)[number];
