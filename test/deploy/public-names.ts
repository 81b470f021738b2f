interface PublicRegistry {
  /** Also those of its token service. */
  readonly hosts: readonly string[];
  /** Of its token service, where it asks for tokens. */
  readonly realm?: string;
  /** The tags of each repository, all of them indexes of linux/amd64 and linux/arm64. */
  readonly images: Readonly<Record<string, readonly string[]>>;
}

/** What the documents pull, and where from. */
export const PUBLIC_REGISTRIES: readonly PublicRegistry[] = [
  {
    hosts: ['registry-1.docker.io', 'auth.docker.io'],
    realm: 'https://auth.docker.io/token',
    images: {
      'library/alpine': ['latest', '3.22'],
      'library/nginx': ['1.25.5', '1.26.2', '1.26.3', '1.27.4', 'latest'],
      'library/busybox': ['latest'],
    },
  },
  { hosts: ['registry.k8s.io'], images: { pause: ['3.10'] } },
  {
    hosts: ['ghcr.io'],
    realm: 'https://ghcr.io/token',
    images: { 'org/app': ['v1', 'latest'] },
  },
  { hosts: ['quay.io'], images: { 'prometheus/prometheus': ['v3.5.0', 'latest'] } },
];
