import { resolve } from 'node:path';
import { z } from 'zod';
import { ConfigError } from './config-error.ts';
import { converted } from './section.ts';
import { secretSchema } from './secret.ts';
import { type Source, readTextFile } from './source.ts';
import { TEXTS } from './texts.ts';

const profileSchema = z
  .exactOptional(z.string().min(1, TEXTS.profile))
  .describe("Profile of AWS's configuration files. Left out: the default one.");

const serverSchema = z
  .exactOptional(z.string().regex(/^[^\s@]+$/, TEXTS.server))
  .describe("Name that the registry was logged in to by. Left out: the upstream's host.");

/** Amazon ECR, through AWS's default chain of credentials. */
export const ecrSchema = z.strictObject({
  provider: z.literal('ecr').describe('Amazon ECR, by the default credentials of AWS.'),
  region: z
    .exactOptional(z.string().regex(/^[a-z0-9]+(?:-[a-z0-9]+)+$/, TEXTS.region))
    .describe("Region of the registry. Left out: that of the upstream's host."),
  profile: profileSchema,
});

export const ecrPublicSchema = z.strictObject({
  provider: z.literal('ecr-public').describe('Amazon ECR Public, by those of AWS.'),
  profile: profileSchema,
});

export function gcpSchema(source: Source) {
  return z.strictObject({
    provider: z.literal('gcp').describe('Google Artifact Registry and gcr.io.'),
    key: z
      .exactOptional(secretSchema(source).refine(isServiceAccount, TEXTS.serviceAccount))
      .describe("A service account's JSON key. Left out: the default credentials of Google."),
  });
}

function isServiceAccount(text: string): boolean {
  const key = parseMap(text);
  return typeof key?.['client_email'] === 'string' && typeof key['private_key'] === 'string';
}

export function acrSchema(source: Source) {
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
    .check(z.superRefine(checkPrincipal, { when: () => true }));
}

function checkPrincipal(entry: object, context: z.RefinementCtx): void {
  if (!('secret' in entry)) return;
  for (const key of ['tenant', 'client'].filter((missing) => !(missing in entry))) {
    const message = TEXTS.principal({ key });
    context.addIssue({ code: 'custom', path: [key], message });
  }
}

/** IBM's registry takes an API key as the password of a name that is always the same. */
export function ibmSchema(source: Source) {
  return z
    .strictObject({
      provider: z.literal('ibm').describe('IBM Cloud Container Registry.'),
      apiKey: secretSchema(source).describe('API key of IBM Cloud.'),
    })
    .transform(({ apiKey }) => ({
      provider: 'password' as const,
      username: 'iamapikey',
      password: apiKey,
    }));
}

export const helperSchema = z.strictObject({
  provider: z.literal('helper').describe('A credential helper of Docker, found on the PATH.'),
  name: z
    .string()
    .regex(/^[a-z0-9-]+$/, TEXTS.helper)
    .describe('What follows docker-credential- in the name of the program.'),
  server: serverSchema,
});

/** Keeps the path: the file is read again for each credential. */
export function dockerConfigSchema({ directory }: Source) {
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
