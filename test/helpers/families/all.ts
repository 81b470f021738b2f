import type { Family } from '../family.ts';
import { ECR, ECR_PUBLIC } from './amazon.ts';
import { ACR } from './azure.ts';
import { DOCKER_HUB, GHCR, GITLAB } from './forges.ts';
import { ARTIFACT_REGISTRY, GCR, KUBERNETES } from './google.ts';
import { DISTRIBUTION, HARBOR, JFROG, QUAY } from './servers.ts';
import { IBM, MCR, NGC } from './vendors.ts';

/** Every family of registries that the mirror promises to work with. */
export const FAMILIES: readonly Family[] = [
  DOCKER_HUB,
  GHCR,
  ECR,
  ECR_PUBLIC,
  GCR,
  ARTIFACT_REGISTRY,
  ACR,
  QUAY,
  JFROG,
  IBM,
  GITLAB,
  KUBERNETES,
  MCR,
  NGC,
  DISTRIBUTION,
  HARBOR,
];
