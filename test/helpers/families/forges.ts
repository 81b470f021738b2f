import { PRIVATE, type Family } from '../family.ts';
import { furtherPages } from './pages.ts';

const LIMIT =
  'You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit';
const REFUSED = 'DENIED: requested access to the resource is denied';
const PAT = { username: 'octocat', password: 'ghp_token' };
const HUB = { username: 'hubuser', password: 'dckr_pat_token' };
const DEPLOY = { username: 'gitlab+deploy-token-1', password: 'gldt-token' };

/** The token service is another host, issues tokens without rights, and takes its own service only. */
export const DOCKER_HUB: Family = {
  name: 'Docker Hub',
  registry: {
    redirectBlobs: 307,
    referrers: 'none',
    auth: {
      kind: 'bearer',
      ...HUB,
      anonymous: true,
      private: [PRIVATE],
      hidesMissing: true,
      realmHost: '127.0.0.1',
      service: 'registry.docker.io',
      expiresIn: 300,
      postForm: true,
    },
    errors: {
      token: { status: 401, json: { details: 'incorrect username or password' } },
      UNAUTHORIZED: { message: 'authentication required' },
      TOOMANYREQUESTS: { message: LIMIT },
    },
  },
  credentials: HUB,
  wrong: { ...HUB, password: 'stale' },
  isOpen: true,
  tokenSeconds: 300,
  missingRepository: {
    at: 'registry',
    status: 401,
    words: 'UNAUTHORIZED: authentication required',
  },
  privateRepository: {
    at: 'registry',
    status: 401,
    words: 'UNAUTHORIZED: authentication required',
  },
  wrongCredentials: { at: 'token', status: 401 },
  limited: `: TOOMANYREQUESTS: ${LIMIT}`,
  tagPages: furtherPages(1000),
  referrers: 'tag',
};

/** The token service refuses; the only field is `token`, and its life is not told. */
export const GHCR: Family = {
  name: 'GHCR',
  registry: {
    redirectBlobs: 307,
    referrers: 'none',
    defaultPageSize: 100,
    auth: {
      kind: 'bearer',
      ...PAT,
      anonymous: true,
      private: [PRIVATE],
      hidesMissing: true,
      refuses: 'token',
      tokenField: 'token',
      service: 'ghcr.io',
      expiresIn: 300,
      postForm: 405,
    },
    errors: {
      token: { status: 403, code: 'DENIED', message: 'requested access to the resource is denied' },
      TOOMANYREQUESTS: { json: { message: 'rate limited' } },
    },
  },
  credentials: PAT,
  wrong: { ...PAT, password: 'github_pat_fine_grained' },
  isOpen: true,
  tokenSeconds: 300,
  missingRepository: { at: 'token', status: 403, words: REFUSED },
  privateRepository: { at: 'token', status: 403, words: REFUSED },
  wrongCredentials: { at: 'token', status: 403, words: REFUSED },
  limited: ': rate limited',
  tagPages: furtherPages(1000),
  referrers: 'tag',
};

/** The realm is the forge, another host than its registry; tokens of GitLab.com live 15 minutes. */
export const GITLAB: Family = {
  name: 'GitLab',
  registry: {
    redirectBlobs: 307,
    referrers: 'none',
    auth: {
      kind: 'bearer',
      ...DEPLOY,
      anonymous: true,
      private: [PRIVATE],
      hidesMissing: true,
      realmHost: '127.0.0.1',
      path: '/jwt/auth',
      service: 'container_registry',
      tokenField: 'token',
      expiresIn: 900,
      postForm: 404,
    },
    errors: {
      token: { status: 403, json: { errors: [{ code: 'DENIED', message: 'access forbidden' }] } },
      UNAUTHORIZED: { message: 'authentication required' },
      TOOMANYREQUESTS: { html: 'Retry later\n' },
    },
  },
  credentials: DEPLOY,
  wrong: { ...DEPLOY, password: 'revoked' },
  isOpen: true,
  tokenSeconds: 900,
  missingRepository: {
    at: 'registry',
    status: 401,
    words: 'UNAUTHORIZED: authentication required',
  },
  privateRepository: {
    at: 'registry',
    status: 401,
    words: 'UNAUTHORIZED: authentication required',
  },
  wrongCredentials: { at: 'token', status: 403, words: 'DENIED: access forbidden' },
  limited: '',
  tagPages: furtherPages(1000),
  referrers: 'tag',
};
