import { z } from 'zod';
import {
  acrSchema,
  dockerConfigSchema,
  ecrPublicSchema,
  ecrSchema,
  gcpSchema,
  helperSchema,
  ibmSchema,
} from './provider-schemas.ts';
import { secretSchema } from './secret.ts';
import type { Source } from './source.ts';
import { TEXTS } from './texts.ts';

const PROVIDERS = ['ecr', 'ecr-public', 'gcp', 'acr', 'ibm', 'helper', 'docker-config'];

/**
 * One account, or several with the same rights. `server` and `region` default to those of the
 * upstream's URL.
 */
export function credentialsSchema(source: Source) {
  const entry = z.discriminatedUnion(
    'provider',
    [
      accountSchema(source),
      ecrSchema,
      ecrPublicSchema,
      gcpSchema(source),
      acrSchema(source),
      ibmSchema(source),
      helperSchema,
      dockerConfigSchema(source),
    ],
    { error: entryError },
  );
  return z
    .union([entry, z.array(entry).min(1, TEXTS.credentialsEmpty)], { error: TEXTS.credentialForms })
    .transform((entries) => (Array.isArray(entries) ? entries : [entries]));
}

/** What `credentialsSchema` makes of one entry. */
export type CredentialsDocument = z.output<ReturnType<typeof credentialsSchema>>[number];

function entryError({ code }: z.core.$ZodRawIssue): string {
  return code === 'invalid_union'
    ? TEXTS.provider({ names: PROVIDERS.join(', ') })
    : TEXTS.credentialForms;
}

/** The keys of each form; one form an entry. */
const FORMS = [['username', 'password'], ['identityToken'], ['token']];

type Account = Partial<Record<'username' | 'password' | 'identityToken' | 'token', string>>;

/** An account whose secret the operator keeps. Names are taken as they stand: `$oauthtoken`. */
function accountSchema(source: Source) {
  const secret = secretSchema(source);
  return z
    .strictObject({
      provider: z.undefined().optional(),
      username: z
        .exactOptional(z.string().min(1, TEXTS.username))
        .describe('Name of the account, as it is.'),
      password: z.exactOptional(secret).describe('Password or access token.'),
      identityToken: z
        .exactOptional(secret)
        .describe('Refresh token that the token service exchanges.'),
      token: z
        .exactOptional(secret.refine((token) => /^[\x21-\x7e]+$/.test(token), TEXTS.bearer))
        .describe('Bearer token that is sent as it is.'),
    })
    .check(z.superRefine(checkForm, { when: () => true }))
    .meta({ oneOf: FORMS.map((required) => ({ required })) })
    .transform(toCredentials);
}

function checkForm(account: object, context: z.RefinementCtx): void {
  const [form, ...others] = FORMS.filter((keys) => keys.some((key) => key in account));
  if (!form || others.length > 0) {
    const message = form ? TEXTS.credentialMixed : TEXTS.credentialForms;
    context.addIssue({ code: 'custom', message });
    return;
  }
  for (const key of form.filter((missing) => !(missing in account))) {
    const message =
      key === 'username' ? TEXTS.missing({ advice: TEXTS.username }) : TEXTS.secretMissing;
    context.addIssue({ code: 'custom', path: [key], message });
  }
}

function toCredentials({ username, password, identityToken, token }: Account) {
  if (identityToken !== undefined)
    return { provider: 'identity-token' as const, token: identityToken };
  if (token !== undefined) return { provider: 'bearer' as const, token };
  return { provider: 'password' as const, username: username ?? '', password: password ?? '' };
}
