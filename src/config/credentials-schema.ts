import { z } from 'zod';
import { accountSchema, FORMS_ADVICE } from './account-schema.ts';
import {
  acrSchema,
  dockerConfigSchema,
  ecrPublicSchema,
  ecrSchema,
  gcpSchema,
  helperSchema,
  ibmSchema,
} from './provider-schemas.ts';
import type { Source } from './source.ts';

const PROVIDERS = ['ecr', 'ecr-public', 'gcp', 'acr', 'ibm', 'helper', 'docker-config'];
const PROVIDER_ADVICE = `write one of ${PROVIDERS.join(', ')}; a username and a password need no provider`;
const EMPTY_ADVICE = 'an empty list names no account; leave the key out to pull without one';

/** One account, or several of the same rights; `server` and `region` may be left to the upstream. */
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
