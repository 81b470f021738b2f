import { resolve } from 'node:path';
import { z } from 'zod';
import { ConfigError } from './config-error.ts';
import { converted } from './section.ts';
import { secretSchema } from './secret.ts';
import { type Source, readTextFile } from './source.ts';

const REGION_ADVICE = 'write a region such as "eu-central-1"';
const PROFILE_ADVICE = "write the name of a profile of AWS's own configuration files";
const HELPER_ADVICE =
  'write what follows docker-credential- in the name of the program, such as "pass"';
const SERVER_ADVICE = 'write the registry as it was logged in to, such as reg.example:5000';
const SERVICE_ACCOUNT_ADVICE =
  'this is not the JSON key of a service account, which has client_email and private_key; leave key out for the default credentials';

/** Amazon ECR, through AWS's default chain of credentials. */
export function ecrSchema() {
  return z.strictObject({
    provider: z.literal('ecr').describe('Amazon ECR, by the default credentials of AWS.'),
    region: z
      .exactOptional(z.string().regex(/^[a-z0-9]+(?:-[a-z0-9]+)+$/, REGION_ADVICE))
      .describe("Region of the registry. Left out: that of the upstream's host."),
    profile: profileSchema(),
  });
}

export function ecrPublicSchema() {
  return z.strictObject({
    provider: z.literal('ecr-public').describe('Amazon ECR Public, by those of AWS.'),
    profile: profileSchema(),
  });
}

function profileSchema() {
  return z
    .exactOptional(z.string().min(1, PROFILE_ADVICE))
    .describe("Profile of AWS's configuration files. Left out: the default one.");
}

export function gcpSchema(source: Source) {
  return z.strictObject({
    provider: z.literal('gcp').describe('Google Artifact Registry and gcr.io.'),
    key: z
      .exactOptional(secretSchema(source).transform(converted(checkServiceAccount)))
      .describe("A service account's JSON key. Left out: the default credentials of Google."),
  });
}

function checkServiceAccount(text: string): string {
  const key = parseMap(text);
  if (typeof key?.['client_email'] === 'string' && typeof key['private_key'] === 'string') {
    return text;
  }
  throw new ConfigError([SERVICE_ACCOUNT_ADVICE]);
}

export function acrSchema(source: Source) {
  const text = (what: string) => z.exactOptional(z.string().min(1, `write the ID of ${what}`));
  return z
    .strictObject({
      provider: z.literal('acr').describe('Azure Container Registry.'),
      tenant: text('the tenant').describe('Tenant of the service principal.'),
      client: text('the client').describe('Service principal, or identity of the machine.'),
      secret: z
        .exactOptional(secretSchema(source))
        .describe('Secret of the service principal. Left out: the default credentials of Azure.'),
    })
    .check(z.superRefine(checkPrincipal, { when: () => true }));
}

function checkPrincipal(entry: object, context: z.RefinementCtx): void {
  if (!('secret' in entry)) return;
  for (const key of ['tenant', 'client'].filter((missing) => !(missing in entry))) {
    const message = `missing; a secret belongs to a tenant and a client, write the ID of the ${key}`;
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

export function helperSchema() {
  return z.strictObject({
    provider: z.literal('helper').describe('A credential helper of Docker, found on the PATH.'),
    name: z
      .string()
      .regex(/^[a-z0-9-]+$/, HELPER_ADVICE)
      .describe('What follows docker-credential- in the name of the program.'),
    server: serverSchema(),
  });
}

/** Keeps the path: the file is read again for each credential. */
export function dockerConfigSchema({ directory }: Source) {
  return z.strictObject({
    provider: z.literal('docker-config').describe('What docker login or podman login wrote.'),
    file: z
      .string()
      .min(1, 'write the path of a config.json or auth.json')
      .transform(converted((path: string) => checkDockerConfig(resolve(directory, path))))
      .describe("Docker's config.json or Podman's auth.json."),
    server: serverSchema(),
  });
}

function serverSchema() {
  return z
    .exactOptional(z.string().regex(/^[^\s@]+$/, SERVER_ADVICE))
    .describe("Name that the registry was logged in to by. Left out: the upstream's host.");
}

function checkDockerConfig(path: string): string {
  if (parseMap(readTextFile(path))) return path;
  throw new ConfigError([`${path} is not JSON as docker login or podman login writes it`]);
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
