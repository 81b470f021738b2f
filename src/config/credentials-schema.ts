import { resolve } from 'node:path';
import * as z from 'zod';
import { type Source, readTextFile } from './source.ts';
import { TEXTS } from './texts.ts';
import { ConfigError } from './problems.ts';
import {
  bearerSchema,
  isBearer,
  readSecretFile,
  secretSchema,
  type Secret,
} from './secret-schema.ts';
import { converted } from './section.ts';

const profileSchema = z
  .exactOptional(z.string().min(1, TEXTS.profile))
  .describe("Profile of AWS's configuration files. Left out: the default one.");

const serverSchema = z
  .exactOptional(z.string().regex(/^[^\s@]+$/, TEXTS.server))
  .describe("Name that the registry was logged in to by. Left out: the upstream's host.");

/** Amazon ECR, through AWS's default chain of credentials. */
const ecrSchema = z.strictObject({
  provider: z.literal('ecr').describe('Amazon ECR, by the default credentials of AWS.'),
  region: z
    .exactOptional(z.string().regex(/^[a-z0-9]+(?:-[a-z0-9]+)+$/, TEXTS.region))
    .describe("Region of the registry. Left out: that of the upstream's host."),
  profile: profileSchema,
});

const ecrPublicSchema = z.strictObject({
  provider: z.literal('ecr-public').describe('Amazon ECR Public, by those of AWS.'),
  profile: profileSchema,
});

function gcpSchema(source: Source) {
  return z
    .strictObject({
      provider: z.literal('gcp').describe('Google Artifact Registry and gcr.io.'),
      key: z
        .exactOptional(
          secretSchema(source).refine(({ text }) => isServiceAccount(text), TEXTS.serviceAccount),
        )
        .describe("A service account's JSON key. Left out: the default credentials of Google."),
    })
    .transform(({ key, ...entry }) => ({ ...entry, ...(key && named('key', key)) }));
}

function isServiceAccount(text: string): boolean {
  const key = parseMap(text);
  return typeof key?.['client_email'] === 'string' && typeof key['private_key'] === 'string';
}

function acrSchema(source: Source) {
  const text = (of: string) => z.exactOptional(z.string().min(1, TEXTS.id({ of })));
  return z
    .strictObject({
      provider: z.literal('acr').describe('Azure Container Registry.'),
      tenant: text('tenant').describe('Tenant of the service principal.'),
      client: text('client').describe('Service principal, or identity of the machine.'),
      secret: z
        .exactOptional(secretSchema(source))
        .describe('Secret of the service principal. Left out: the default credentials of Azure.'),
    })
    .check(z.superRefine(checkPrincipal, { when: () => true }))
    .transform(({ secret, ...entry }) => ({ ...entry, ...(secret && named('secret', secret)) }));
}

function checkPrincipal(entry: object, context: z.RefinementCtx): void {
  if (!('secret' in entry)) return;
  for (const key of ['tenant', 'client'].filter((missing) => !(missing in entry))) {
    const message = TEXTS.principal({ key });
    context.addIssue({ code: 'custom', path: [key], message });
  }
}

/** IBM's registry takes an API key as the password of a name that is always the same. */
function ibmSchema(source: Source) {
  return z
    .strictObject({
      provider: z.literal('ibm').describe('IBM Cloud Container Registry.'),
      apiKey: secretSchema(source).describe('API key of IBM Cloud.'),
    })
    .transform(({ apiKey }) => ({
      provider: 'password' as const,
      username: 'iamapikey',
      ...named('password', apiKey),
    }));
}

const helperSchema = z.strictObject({
  provider: z.literal('helper').describe('A credential helper of Docker, found on the PATH.'),
  name: z
    .string()
    .regex(/^[a-z0-9-]+$/, TEXTS.helper)
    .describe('What follows docker-credential- in the name of the program.'),
  server: serverSchema,
});

/** Keeps the path: the file is read again for each credential. */
function dockerConfigSchema({ directory }: Source) {
  return z.strictObject({
    provider: z.literal('docker-config').describe('What docker login or podman login wrote.'),
    file: z
      .string()
      .min(1, TEXTS.dockerConfig)
      .transform(converted((path: string) => checkDockerConfig(resolve(directory, path))))
      .describe("Docker's config.json or Podman's auth.json."),
    server: serverSchema,
  });
}

function checkDockerConfig(path: string): string {
  if (parseMap(readTextFile(path))) return path;
  throw new ConfigError([TEXTS.notDockerConfig({ path })]);
}

/** Throws nothing, since the message of the parser would hold a part of the secret. */
function parseMap(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isMap = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isMap ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** The secret as a key of its entry, beside the file that it is read from again. */
function named<Key extends string>(key: Key, { text, file }: Secret) {
  return { [key]: text, ...(file !== undefined && { file }) } as Record<Key, string> & {
    file?: string;
  };
}

/** The secret of a credential's file as it is now. Throws a `ConfigError`, as at the start. */
export function readSecret(provider: CredentialsDocument['provider'], file: string): string {
  const text = readSecretFile(file);
  if (provider === 'gcp' && !isServiceAccount(text)) throw new ConfigError([TEXTS.serviceAccount]);
  if (provider === 'bearer' && !isBearer(text)) throw new ConfigError([TEXTS.bearer]);
  return text;
}

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

type Account = Partial<
  Record<'password' | 'identityToken' | 'token', Secret> & { readonly username: string }
>;

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
      token: z.exactOptional(bearerSchema(source)).describe('Bearer token that is sent as it is.'),
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
  if (identityToken) {
    return { provider: 'identity-token' as const, ...named('token', identityToken) };
  }
  if (token) return { provider: 'bearer' as const, ...named('token', token) };
  const secret = password ?? { text: '', file: undefined };
  return {
    provider: 'password' as const,
    username: username ?? '',
    ...named('password', secret),
  };
}
