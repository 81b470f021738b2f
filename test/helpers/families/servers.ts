import { PRIVATE, type Family } from '../family.ts';
import { furtherPages } from './pages.ts';

const NGINX =
  '<html>\n<head><title>429 Too Many Requests</title></head>\n<body><center>nginx</center></body>\n</html>\n';
const QUAY_ROBOT = { username: 'org+robot', password: 'robot-token' };
const JFROG_USER = { username: 'reader', password: 'cmVmdGtuOjAx' };
const HARBOR_ROBOT = { username: 'robot$project+puller', password: 'secret' };
const QUAY_REFUSAL = 'access to the requested resource is not authorized';

/** Tokens of an hour that do not say so, absolute links, a cap of 100, and a strict referrers API. */
export const QUAY: Family = {
  name: 'Quay',
  registry: {
    redirectBlobs: 302,
    referrers: 'strict',
    pageSize: 100,
    links: 'absolute',
    auth: {
      kind: 'bearer',
      ...QUAY_ROBOT,
      anonymous: true,
      private: [PRIVATE],
      hidesMissing: true,
      path: '/v2/auth',
      service: 'quay.io',
      tokenField: 'token',
      expiresIn: null,
      postForm: 405,
    },
    errors: {
      token: { status: 401, json: { error: 'Could not find robot with specified username' } },
      UNAUTHORIZED: { message: QUAY_REFUSAL },
      MANIFEST_INVALID: { message: 'manifest invalid' },
      TOOMANYREQUESTS: { html: NGINX },
    },
  },
  credentials: QUAY_ROBOT,
  wrong: { ...QUAY_ROBOT, password: 'regenerated' },
  isOpen: true,
  tokenSeconds: 60,
  missingRepository: { at: 'registry', status: 401, words: `UNAUTHORIZED: ${QUAY_REFUSAL}` },
  privateRepository: { at: 'registry', status: 401, words: `UNAUTHORIZED: ${QUAY_REFUSAL}` },
  wrongCredentials: { at: 'token', status: 401 },
  limited: '',
  tagPages: furtherPages(100),
  referrers: 'api',
};

/** Two challenges in two lines, Basic first; a POST for a token is 401. */
export const JFROG: Family = {
  name: 'JFrog',
  registry: {
    auth: {
      kind: 'bearer',
      ...JFROG_USER,
      anonymous: true,
      private: [PRIVATE],
      hidesMissing: true,
      path: '/artifactory/api/docker/hub/v2/token',
      service: 'example.jfrog.io',
      expiresIn: 3600,
      postForm: 401,
      challenges: ({ realm, service }) => [
        'Basic realm="Artifactory Realm"',
        `Bearer realm="${realm}",service="${service}"`,
      ],
    },
    errors: {
      token: { status: 401, json: { errors: [{ status: 401, message: 'Bad credentials' }] } },
      UNAUTHORIZED: { message: 'The client does not have permission for manifest' },
      TOOMANYREQUESTS: { json: { errors: [{ status: 429, message: 'Too Many Requests' }] } },
    },
  },
  credentials: JFROG_USER,
  wrong: { ...JFROG_USER, password: 'rotated' },
  isOpen: true,
  tokenSeconds: 3600,
  missingRepository: {
    at: 'registry',
    status: 401,
    words: 'UNAUTHORIZED: The client does not have permission for manifest',
  },
  privateRepository: {
    at: 'registry',
    status: 401,
    words: 'UNAUTHORIZED: The client does not have permission for manifest',
  },
  wrongCredentials: { at: 'token', status: 401, words: 'Bad credentials' },
  limited: ': Too Many Requests',
  tagPages: furtherPages(1000),
  referrers: 'api',
};

/** Redirects nothing; a missing project is 404 with words of its own to whoever is logged in. */
export const HARBOR: Family = {
  name: 'Harbor',
  registry: {
    auth: {
      kind: 'bearer',
      ...HARBOR_ROBOT,
      anonymous: true,
      private: [PRIVATE],
      path: '/service/token',
      service: 'harbor-registry',
      expiresIn: 1800,
    },
    errors: {
      token: { status: 401, code: 'UNAUTHORIZED', message: 'unauthorized' },
      UNAUTHORIZED: { message: 'unauthorized to access repository' },
      NAME_UNKNOWN: { code: 'NOT_FOUND', message: 'project library not found' },
      MANIFEST_UNKNOWN: { code: 'NOT_FOUND', message: 'artifact not found' },
      TOOMANYREQUESTS: { message: 'too many requests' },
    },
  },
  credentials: HARBOR_ROBOT,
  wrong: { ...HARBOR_ROBOT, password: 'refreshed' },
  isOpen: true,
  tokenSeconds: 1800,
  privateRepository: {
    at: 'registry',
    status: 401,
    words: 'UNAUTHORIZED: unauthorized to access repository',
  },
  wrongCredentials: { at: 'token', status: 401, words: 'UNAUTHORIZED: unauthorized' },
  limited: ': TOOMANYREQUESTS: too many requests',
  tagPages: furtherPages(1000),
  referrers: 'api',
};

/** CNCF distribution without login, behind a proxy that it does not know of. */
export const DISTRIBUTION: Family = {
  name: 'distribution',
  registry: { referrers: 'none', links: 'internal' },
  isOpen: true,
  limited: ': TOOMANYREQUESTS: toomanyrequests',
  tagPages: furtherPages(1000),
  referrers: 'tag',
};
