import { resolve } from 'node:path';
import * as z from 'zod';
import { isGlob, parseGlob, parseGlobs } from './glob.ts';
import { parseAddress } from './host-list.ts';
import { parseHtpasswd } from './htpasswd.ts';
import { checkIssuers, kubernetesSchema, oidcSchema } from './issuer-schema.ts';
import { readClientAuthorities } from './pem.ts';
import { repeated } from './problems.ts';
import { duration } from './quantity.ts';
import { section, validated } from './section.ts';
import { readTextFile, type Source } from './source.ts';
import { RULE_WORDS } from './rule-words.ts';
import { TEXTS } from './texts.ts';

/** What a rule gives of images, and the roles that it gives at the admin door. */
export const PULL_VERBS = ['pull', 'list'] as const;
export const ROLES = ['metrics', 'view', 'operate', 'admin'] as const;
export type Verb = (typeof PULL_VERBS)[number];
export type Role = (typeof ROLES)[number];
const MAY = [...PULL_VERBS, ...ROLES] as const;

const SERVICE = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$/;
const MAX_TTL_MS = 3_600_000;
/** Kinds of identities, as they stand in front of a name. */
const KINDS = ['user', 'group', 'token', 'k8s', 'cert', 'oidc'];
const WHO = new RegExp(`^(?:anonymous|(?:${KINDS.join('|')}):[^\\s]{1,240})$`);

/** Whether a text is one identity, as rules name it; a glob names several. */
export function isIdentity(name: string): boolean {
  return WHO.test(name) && !isGlob(name);
}

export function isRole(wish: string): wish is Role {
  return (ROLES as readonly string[]).includes(wish);
}

/** Whether a rule that gives the one gives the other, too: each role includes those before it. */
export function includesWish(given: Verb | Role, wish: Verb | Role): boolean {
  if (!isRole(given) || !isRole(wish)) return given === wish;
  return ROLES.indexOf(given) >= ROLES.indexOf(wish);
}

/** `access`: who may pull what, and what else. Without it everyone may pull everything. */
export function accessSchema(source: Source) {
  const file = z
    .string()
    .min(1, TEXTS.file)
    .meta({ title: 'file' })
    .transform((path) => resolve(source.directory, path));
  return z
    .strictObject({
      token: section('ttl', {
        service: z
          .string()
          .regex(SERVICE, TEXTS.accessService)
          .exactOptional()
          .describe('`iss` and `aud` of the tokens that are given out; else an id of the store.'),
        ttl: duration
          .refine((ms) => ms >= 60_000 && ms <= MAX_TTL_MS, TEXTS.accessTtl)
          .prefault('5m')
          .describe('How long a token counts, from 1m to 1h.'),
      }).describe('The tokens that clients get for their credentials.'),
      htpasswd: htpasswdSchema(file).exactOptional().describe('Users with passwords.'),
      oidc: oidcSchema(source).exactOptional().describe('OIDC providers whose JWTs count.'),
      kubernetes: kubernetesSchema(source)
        .exactOptional()
        .describe(
          'Clusters whose service accounts count; those of one issuer differ by their keys.',
        ),
      certificates: z
        .strictObject({
          ca: file
            .transform(validated(readClientAuthorities))
            .describe('PEM file of the authorities that count, alone. Read again on change.'),
        })
        .exactOptional()
        .describe('Clients are asked for a certificate, where listen has TLS.'),
      limits: z
        .strictObject({
          downloads: z
            .int({ error: TEXTS.asCount })
            .min(1, TEXTS.asCount)
            .exactOptional()
            .describe('Downloads that one may have begun while others want to begin some.'),
        })
        .exactOptional()
        .describe('Of each subject, or each address where nobody has said who it is.'),
      rules: z
        .array(ruleSchema())
        .prefault([])
        .describe('Each gives something; what none gives is refused.'),
    })
    .superRefine(checkIssuers)
    .exactOptional();
}

/** A text in its place is the path of the file. */
function htpasswdSchema(path: z.ZodType<string>) {
  const file = path
    .transform(validated((users) => parseHtpasswd(readTextFile(users), users)))
    .describe('Lines of user:hash, by bcrypt alone ("htpasswd -B"). Read again on change.');
  return z.strictObject(
    { file },
    {
      error: ({ code, input }) =>
        code === 'invalid_type'
          ? TEXTS.mapWith({ key: 'file', value: repeated(input) })
          : undefined,
    },
  );
}

/** An error where certificates are asked for and nobody can show one. A value of a wrong type has its own. */
export function checkCertificates(
  { access, listen }: { readonly access?: unknown; readonly listen?: { readonly tls?: unknown } },
  context: z.RefinementCtx,
): void {
  const isAsked = typeof access === 'object' && access !== null && 'certificates' in access;
  if (!isAsked || !listen || listen.tls) return;
  const path = ['access', 'certificates'];
  context.addIssue({ code: 'custom', path, message: TEXTS.certificatesNeedTls });
}

function ruleSchema() {
  return z
    .strictObject({
      who: z
        .array(
          z
            .string()
            .regex(WHO, { error: ({ input }) => RULE_WORDS.who(input, KINDS) })
            .transform(validated(parseGlob)),
        )
        .min(1, TEXTS.accessWho)
        .describe('anonymous, or names of identities with their kind; globs of them.'),
      from: z
        .array(
          z.string().refine((text) => parseAddress(text) !== undefined, {
            error: ({ input }) => RULE_WORDS.from(input),
          }),
        )
        .min(1, TEXTS.accessFrom)
        .exactOptional()
        .describe('Only from these addresses and ranges.'),
      may: z
        .array(z.enum(MAY, { error: ({ input }) => RULE_WORDS.may(input, MAY) }))
        .min(1, TEXTS.accessMay)
        .describe('pull and list images; metrics, view, operate and admin at the admin door.'),
      images: z
        .array(z.string().transform(validated((glob: string) => parseGlobs([glob]))))
        .min(1, TEXTS.accessImages)
        .exactOptional()
        .describe('Repositories with their registry; globs of them.'),
    })
    .check(({ value, issues }) => {
      const isOfImages = value.may.some((each) => !isRole(each));
      if (isOfImages === (value.images !== undefined)) return;
      const message = isOfImages ? TEXTS.accessImages : TEXTS.accessNoImages;
      issues.push({ code: 'custom', message, input: value, path: ['images'] });
    });
}
