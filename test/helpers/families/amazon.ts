import type { Family } from '../family.ts';
import { furtherPages } from './pages.ts';

const AWS = { username: 'AWS', password: 'issued:for-twelve-hours' };
const EXPIRED = 'Your authorization token has expired. Reauthenticate and try again.';
const RATE = 'TOOMANYREQUESTS: Rate exceeded';

/** Basic only, nothing without a login, and 403 for what has expired. */
export const ECR: Family = {
  name: 'ECR',
  registry: {
    redirectBlobs: 307,
    defaultPageSize: 100,
    maxPageSize: 1000,
    listing: 'opaque',
    auth: {
      kind: 'basic',
      ...AWS,
      denies: 403,
      challenges: () => [
        'Basic realm="https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com"',
      ],
    },
    errors: {
      UNAUTHORIZED: { message: 'Not Authorized' },
      DENIED: { message: EXPIRED },
      TOOMANYREQUESTS: { message: 'Rate exceeded' },
    },
  },
  credentials: AWS,
  wrong: { ...AWS, password: 'of-yesterday' },
  isOpen: false,
  privateRepository: { at: 'mirror', status: 401 },
  wrongCredentials: { at: 'registry', status: 403, words: `DENIED: ${EXPIRED}` },
  limited: `: ${RATE}`,
  tagPages: furtherPages(1000, true),
  referrers: 'api',
};

/** Every token is for the scope `aws`; a missing repository is 404 to anyone. */
export const ECR_PUBLIC: Family = {
  name: 'ECR Public',
  registry: {
    redirectBlobs: 307,
    maxPageSize: 1000,
    auth: {
      kind: 'bearer',
      ...AWS,
      anonymous: true,
      scope: 'aws',
      path: '/token/',
      service: 'public.ecr.aws',
      tokenField: 'token',
      expiresIn: 3600,
    },
    errors: {
      token: { status: 401, code: 'DENIED', message: EXPIRED },
      TOOMANYREQUESTS: { message: 'Rate exceeded' },
    },
  },
  credentials: AWS,
  wrong: { ...AWS, password: 'of-yesterday' },
  isOpen: true,
  tokenScopes: () => 'aws',
  tokenSeconds: 3600,
  wrongCredentials: { at: 'token', status: 401, words: `DENIED: ${EXPIRED}` },
  limited: `: ${RATE}`,
  tagPages: furtherPages(1000),
  referrers: 'api',
};
