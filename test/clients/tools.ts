import { join } from 'node:path';

export interface Tool {
  /** A command of a Go module, or a package of Python, at a version. */
  readonly module?: string;
  readonly python?: string;
  readonly version: string;
  readonly tags?: readonly string[];
  /** The file that is made of it, where that is not the name here. */
  readonly binary?: string;
  /** The module says what to exclude, so that Go installs it only as a part of another one. */
  readonly hasExcludes?: boolean;
}

const BUILDKIT = { version: 'v0.34.2', hasExcludes: true };
const CONTAINERD = { version: 'v2.4.2', tags: ['no_btrfs', 'no_zfs', 'no_devmapper'] };

/** Clients that are newer than the Debian packages, or have none, and the specification's own program. */
export const TOOLS = {
  conformance: {
    module: 'github.com/opencontainers/distribution-spec/conformance',
    version: 'v0.0.0-20260831232431-97274622c111',
  },
  crane: { module: 'github.com/google/go-containerregistry/cmd/crane', version: 'v0.22.1' },
  regctl: { module: 'github.com/regclient/regclient/cmd/regctl', version: 'v0.11.7' },
  regsync: { module: 'github.com/regclient/regclient/cmd/regsync', version: 'v0.11.7' },
  oras: { module: 'oras.land/oras/cmd/oras', version: 'v1.3.6' },
  helm: { module: 'helm.sh/helm/v4/cmd/helm', version: 'v4.3.1' },
  helm3: { module: 'helm.sh/helm/v3/cmd/helm', version: 'v3.22.0', binary: 'helm' },
  /** Carries the schemas of Kubernetes. */
  'kubernetes-validate': {
    python: 'kubernetes-validate',
    version: '1.37.0',
    binary: 'bin/kubernetes-validate',
  },
  cosign: { module: 'github.com/sigstore/cosign/v3/cmd/cosign', version: 'v3.1.3' },
  containerd: { module: 'github.com/containerd/containerd/v2/cmd/containerd', ...CONTAINERD },
  buildkitd: { module: 'github.com/moby/buildkit/cmd/buildkitd', ...BUILDKIT },
  buildctl: { module: 'github.com/moby/buildkit/cmd/buildctl', ...BUILDKIT },
  ctr: { module: 'github.com/containerd/containerd/v2/cmd/ctr', ...CONTAINERD },
} as const satisfies Readonly<Record<string, Tool>>;

export type ToolName = keyof typeof TOOLS;

/** Built once and kept: a version has a folder of its own. */
export function toolPath(name: ToolName): string {
  const root = join(import.meta.dirname, '..', '..', '.cache', 'clients');
  const tool: Tool = TOOLS[name];
  return join(root, `${name}-${tool.version}`, tool.binary ?? name);
}
