import { z } from 'zod';
import { ConfigError } from './config-error.ts';
import type { CredentialsConfig } from './config.ts';
import {
  acrSchema,
  dockerConfigSchema,
  ecrPublicSchema,
  ecrSchema,
  gcpSchema,
  helperSchema,
  ibmSchema,
} from './provider-schemas.ts';
import { MISSING_SECRET_ADVICE, secretSchema } from './secret.ts';
import { converted } from './section.ts';
import type { Source } from './source.ts';

const PROVIDERS = ['ecr', 'ecr-public', 'gcp', 'acr', 'ibm', 'helper', 'docker-config'];
const PROVIDER_ADVICE = `write one of ${PROVIDERS.join(', ')}; a username and a password need no provider`;
const EMPTY_ADVICE = 'an empty list names no account; leave the key out to pull without one';

/**
 * One account, or several with the same rights. `server` and `region` default to those of the
 * upstream's URL.
 */
export function credentialsSchema(source: Source) {
  const entry = z.discriminatedUnion(
    'provider',
    [
      accountSchema(source),
      ecrSchema(),
      ecrPublicSchema(),
      gcpSchema(source),
      acrSchema(source),
      ibmSchema(source),
      helperSchema(),
      dockerConfigSchema(source),
    ],
    { error: entryError },
  );
  return z
    .union([entry, z.array(entry).min(1, EMPTY_ADVICE)], { error: FORMS_ADVICE })
    .transform((entries) => (Array.isArray(entries) ? entries : [entries]));
}

/** What `credentialsSchema` makes of one entry. */
export type CredentialsDocument = z.output<ReturnType<typeof credentialsSchema>>[number];

function entryError({ code }: z.core.$ZodRawIssue): string {
  return code === 'invalid_union' ? PROVIDER_ADVICE : FORMS_ADVICE;
}

export const FORMS_ADVICE =
  'write { username: NAME, password: { file: PATH } }, { identityToken: { file: PATH } }, { token: { file: PATH } } or { provider: NAME }';
const USERNAME_ADVICE = 'write the name of the account';
const MIXED_ADVICE =
  'write username and password, or identityToken, or token, not several of them; a second account is a second entry of a list';

/** The keys of each form; one form an entry. */
const FORMS = [['username', 'password'], ['identityToken'], ['token']];

type Account = Partial<Record<'username' | 'password' | 'identityToken' | 'token', string>>;

/** An account whose secret the operator keeps. Names are taken as they stand: `$oauthtoken`. */
export function accountSchema(source: Source) {
  const secret = secretSchema(source);
  return z
    .strictObject({
      provider: z.undefined().optional(),
      username: z
        .exactOptional(z.string().min(1, USERNAME_ADVICE))
        .describe('Name of the account, as it is.'),
      password: z.exactOptional(secret).describe('Password or access token.'),
      identityToken: z
        .exactOptional(secret)
        .describe('Refresh token that the token service exchanges.'),
      token: z
        .exactOptional(secret.transform(converted(checkBearer)))
        .describe('Bearer token that is sent as it is.'),
    })
    .check(z.superRefine(checkForm, { when: () => true }))
    .meta({ oneOf: FORMS.map((required) => ({ required })) })
    .transform(toCredentials);
}

function checkForm(account: object, context: z.RefinementCtx): void {
  const [form, ...others] = FORMS.filter((keys) => keys.some((key) => key in account));
  if (!form || others.length > 0) {
    context.addIssue({ code: 'custom', message: form ? MIXED_ADVICE : FORMS_ADVICE });
    return;
  }
  for (const key of form.filter((missing) => !(missing in account))) {
    const message = key === 'username' ? `missing; ${USERNAME_ADVICE}` : MISSING_SECRET_ADVICE;
    context.addIssue({ code: 'custom', path: [key], message });
  }
}

function checkBearer(token: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new ConfigError(['a bearer token has no spaces and no line ends; keep nothing beside it']);
}

function toCredentials({ username, password, identityToken, token }: Account): CredentialsConfig {
  if (identityToken !== undefined) return { provider: 'identity-token', token: identityToken };
  if (token !== undefined) return { provider: 'bearer', token };
  return { provider: 'password', username: username ?? '', password: password ?? '' };
}
