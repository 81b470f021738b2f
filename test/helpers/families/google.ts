import { PRIVATE, type Family } from '../family.ts';

const KEY = { username: '_json_key', password: '{"type":"service_account",\n"private_key":"…"}' };
const DENIED =
  'Permission "artifactregistry.repositories.downloadArtifacts" denied on the resource (or it may not exist).';
const ERRORS = {
  token: { status: 401, code: 'UNAUTHORIZED', message: 'authentication failed' },
  DENIED: { message: DENIED },
  TOOMANYREQUESTS: { message: 'Quota exceeded for quota metric "Requests per project per region"' },
};
const LIMITED =
  ': TOOMANYREQUESTS: Quota exceeded for quota metric "Requests per project per region"';

const AUTH = {
  kind: 'bearer',
  ...KEY,
  anonymous: true,
  private: [PRIVATE],
  hidesMissing: true,
  denies: 403,
  path: '/v2/token',
  expiresIn: 3600,
} as const;

/** The challenge comes with the ping only; `n` of a list of tags counts for nothing. */
export const GCR: Family = {
  name: 'GCR',
  registry: {
    redirectBlobs: 302,
    referrers: 'none',
    listing: 'google',
    auth: {
      ...AUTH,
      service: 'gcr.io',
      challenges: ({ realm, service, scope }) =>
        scope === undefined ? [`Bearer realm="${realm}",service="${service}"`] : [],
    },
    errors: ERRORS,
  },
  credentials: KEY,
  wrong: { ...KEY, password: '{}' },
  isOpen: true,
  pings: true,
  tokenSeconds: 3600,
  missingRepository: { at: 'registry', status: 403, words: `DENIED: ${DENIED}` },
  privateRepository: { at: 'registry', status: 403, words: `DENIED: ${DENIED}` },
  wrongCredentials: { at: 'token', status: 401, words: 'UNAUTHORIZED: authentication failed' },
  limited: LIMITED,
  tagPages: [],
  referrers: 'tag',
};

/** A question for referrers is sent to a sign-in page. */
export const ARTIFACT_REGISTRY: Family = {
  ...GCR,
  name: 'Artifact Registry',
  pings: false,
  registry: {
    ...GCR.registry,
    referrers: 'html',
    auth: { ...AUTH, service: 'europe-docker.pkg.dev' },
  },
};

/** No login; all but blobs is redirected to Google without the query, blobs to S3. */
export const KUBERNETES: Family = {
  name: 'registry.k8s.io',
  registry: {
    redirectBlobs: 307,
    front: 'k8s-artifacts-prod/images',
    referrers: 'none',
    listing: 'google',
    errors: ERRORS,
  },
  isOpen: true,
  limited: LIMITED,
  tagPages: [],
  referrers: 'tag',
};
