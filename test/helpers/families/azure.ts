import { PRIVATE, type Family } from '../family.ts';
import { furtherPages } from './pages.ts';

const TOKEN = 'refresh.token.of-entra';
const SIGN_IN =
  'authentication required, visit https://aka.ms/acr/authorization for more information.';

/** What Entra issued is exchanged by POST; the answer has `access_token` only. */
export const ACR: Family = {
  name: 'ACR',
  registry: {
    redirectBlobs: 307,
    auth: {
      kind: 'bearer',
      identityToken: TOKEN,
      anonymous: false,
      private: [PRIVATE],
      hidesMissing: true,
      path: '/oauth2/token',
      service: 'name.azurecr.io',
      tokenField: 'access_token',
      expiresIn: 4500,
      postForm: true,
    },
    errors: {
      token: { status: 401, code: 'UNAUTHORIZED', message: SIGN_IN },
      UNAUTHORIZED: { message: SIGN_IN },
      TOOMANYREQUESTS: { message: 'too many requests' },
    },
  },
  credentials: [{ provider: 'identity-token', token: TOKEN }],
  wrong: [{ provider: 'identity-token', token: 'of-another-tenant' }],
  isOpen: false,
  tokenMethod: 'POST',
  tokenSeconds: 4500,
  missingRepository: { at: 'registry', status: 401, words: `UNAUTHORIZED: ${SIGN_IN}` },
  privateRepository: { at: 'registry', status: 401, words: `UNAUTHORIZED: ${SIGN_IN}` },
  wrongCredentials: { at: 'token', status: 401, words: `UNAUTHORIZED: ${SIGN_IN}` },
  limited: ': TOOMANYREQUESTS: too many requests',
  tagPages: furtherPages(1000),
  referrers: 'api',
};
