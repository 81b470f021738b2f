import { PRIVATE, type Family } from '../family.ts';
import { furtherPages } from './pages.ts';

const IAM = { username: 'iamapikey', password: 'iam-api-key' };
const NGC_KEY = { username: '$oauthtoken', password: 'nvapi-key' };
const IBM_REFUSAL = 'You are not authorized to access the specified resource.';
const NGC_REFUSAL = 'Access Denied';

/** Nothing without a login; two challenges in one line. */
export const IBM: Family = {
  name: 'IBM',
  registry: {
    referrers: 'none',
    auth: {
      kind: 'bearer',
      ...IAM,
      private: [PRIVATE],
      hidesMissing: true,
      path: '/oauth/token',
      service: 'registry',
      expiresIn: 3600,
      challenges: ({ realm, service, scope }) => [
        `Basic realm="IBM Cloud Container Registry", Bearer realm="${realm}",service="${service}"${scope === undefined ? '' : `,scope="${scope}"`}`,
      ],
    },
    errors: {
      token: { status: 401, code: 'UNAUTHORIZED', message: IBM_REFUSAL },
      UNAUTHORIZED: { message: IBM_REFUSAL },
      TOOMANYREQUESTS: { message: 'Pull quota exceeded' },
    },
  },
  credentials: IAM,
  wrong: { ...IAM, password: 'deleted' },
  isOpen: false,
  tokenSeconds: 3600,
  missingRepository: { at: 'registry', status: 401, words: `UNAUTHORIZED: ${IBM_REFUSAL}` },
  privateRepository: { at: 'registry', status: 401, words: `UNAUTHORIZED: ${IBM_REFUSAL}` },
  wrongCredentials: { at: 'token', status: 401, words: `UNAUTHORIZED: ${IBM_REFUSAL}` },
  limited: ': TOOMANYREQUESTS: Pull quota exceeded',
  tagPages: furtherPages(1000),
  referrers: 'tag',
};

/** No login; blobs come from a data endpoint. */
export const MCR: Family = {
  name: 'MCR',
  registry: {
    redirectBlobs: 307,
    errors: { MANIFEST_UNKNOWN: { message: 'manifest tagged by "missing" is not found' } },
  },
  isOpen: true,
  limited: ': TOOMANYREQUESTS: toomanyrequests',
  tagPages: furtherPages(1000),
  referrers: 'api',
};

/** The realm carries a query, which is added to; there is no service. */
export const NGC: Family = {
  name: 'NGC',
  registry: {
    redirectBlobs: 302,
    referrers: 'none',
    auth: {
      kind: 'bearer',
      ...NGC_KEY,
      anonymous: true,
      private: [PRIVATE],
      hidesMissing: true,
      path: '/proxy_auth',
      service: null,
      tokenField: 'token',
      expiresIn: 3600,
      challenges: ({ realm, scope }) => [
        `Bearer realm="${realm}${scope === undefined ? '' : `?scope=${scope}`}"`,
      ],
    },
    errors: {
      token: { status: 401, html: '<html><body>401 Authorization Required</body></html>' },
      UNAUTHORIZED: { html: `<html><body>${NGC_REFUSAL}</body></html>` },
      TOOMANYREQUESTS: { html: '<html><body>429 Too Many Requests</body></html>' },
    },
  },
  credentials: NGC_KEY,
  wrong: { ...NGC_KEY, password: 'nvapi-expired' },
  isOpen: true,
  tokenScopes: (scope) => `${scope} ${scope}`,
  tokenSeconds: 3600,
  missingRepository: { at: 'registry', status: 401 },
  privateRepository: { at: 'registry', status: 401 },
  wrongCredentials: { at: 'token', status: 401 },
  limited: '',
  tagPages: furtherPages(1000),
  referrers: 'tag',
};
