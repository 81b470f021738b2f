import { resolve } from 'node:path';
import * as z from 'zod';
import { parseJwks } from './jwks.ts';
import { pemSchema, readAuthorities } from './pem.ts';
import { isLoopback, findProxy, proxyVariables } from './proxy.ts';
import { bearerSchema } from './secret-schema.ts';
import { validated } from './section.ts';
import { readTextFile, type Source } from './source.ts';
import { TEXTS } from './texts.ts';
import { ConfigError } from './problems.ts';

/** It stands in front of a name that an issuer gives, and ends with the colon between them. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$/;
const TEXT = /^[\x21-\x7e]{1,512}$/;
const FORMS = [['file'], ['url']];

/** `access.oidc`: issuers whose tokens say who somebody is. */
export function oidcSchema(source: Source) {
  const claim = z.string().regex(TEXT, TEXTS.issuerClaim);
  return z.array(
    z.strictObject({
      ...shared(source),
      subject: claim.prefault('sub').describe('The claim that says who it is: oidc:NAME:VALUE.'),
      groups: claim.exactOptional().describe('The claim of its groups: group:VALUE each.'),
    }),
  );
}

/** `access.kubernetes`: clusters whose service accounts may log in. */
export function kubernetesSchema(source: Source) {
  return z.array(z.strictObject(shared(source)));
}

function shared(source: Source) {
  const text = z.string().regex(TEXT, TEXTS.issuerText);
  return {
    name: z.string().regex(NAME, TEXTS.issuerName).describe('What its identities are named after.'),
    issuer: text.describe('`iss` of its tokens, letter by letter.'),
    audience: text.describe('`aud` that its tokens must have.'),
    jwks: jwksSchema(source).describe('The public keys by which it signs.'),
  };
}

function jwksSchema(source: Source) {
  return z
    .strictObject(
      {
        file: z
          .string()
          .min(1, TEXTS.file)
          .meta({ title: 'file' })
          .transform((path) => resolve(source.directory, path))
          .transform(validated((path) => parseJwks(readTextFile(path), path)))
          .exactOptional()
          .describe('A JWKS. Read again on change.'),
        url: z
          .string()
          .meta({ title: 'URL' })
          .transform(validated(checkUrl(source)))
          .exactOptional()
          .describe('Where a JWKS is fetched from when one is wanted.'),
        ca: pemSchema(source, readAuthorities)
          .exactOptional()
          .describe('PEM file of the authorities that alone count for that address.'),
        token: bearerSchema(source)
          .exactOptional()
          .describe('Bearer token that is sent to that address.'),
      },
      { error: ({ code }) => (code === 'invalid_type' ? TEXTS.jwksForms : undefined) },
    )
    .check(z.superRefine(checkForm, { when: () => true }))
    .meta({ oneOf: FORMS.map((required) => ({ required })) })
    .transform(({ file, url, ca, token }) => {
      if (url === undefined) return { file: file ?? '' };
      const environment = proxyVariables(source.env);
      return {
        url,
        ...(ca && { ca }),
        ...(token && { token }),
        ...(environment && { environment }),
      };
    });
}

function checkForm(jwks: unknown, context: z.RefinementCtx): void {
  if (typeof jwks !== 'object' || jwks === null) return;
  const isOne = 'file' in jwks !== 'url' in jwks;
  const isOfUrl = 'ca' in jwks || 'token' in jwks;
  if (isOne && !(isOfUrl && 'file' in jwks)) return;
  context.addIssue({ code: 'custom', message: TEXTS.jwksForms });
}

/** Whoever may change the keys on the way may log in as anybody. */
function checkUrl({ env }: Source) {
  return (text: string): void => {
    const url = URL.parse(text);
    const isPlain = url?.protocol === 'http:' && isLoopback(url);
    const isKnown = url?.protocol === 'https:' || isPlain;
    if (!isKnown || url.username !== '' || url.password !== '' || url.hash !== '') {
      throw new ConfigError([TEXTS.jwksUrl]);
    }
    findProxy(url.href, env);
  };
}

interface IssuerDocument {
  readonly name: string;
  readonly issuer: string;
  readonly jwks: { readonly file: string } | { readonly url: string };
}

interface IssuersDocument {
  readonly oidc?: readonly IssuerDocument[];
  readonly kubernetes?: readonly IssuerDocument[];
}

/**
 * A name is of one issuer of its kind, and an `iss` of one alone: only clusters may share it, whose keys then
 * tell them apart.
 */
export function checkIssuers(
  { oidc = [], kubernetes = [] }: IssuersDocument,
  context: z.RefinementCtx,
): void {
  const told = (path: (string | number)[], message: string): void =>
    context.addIssue({ code: 'custom', path, message });
  for (const [kind, list] of Object.entries({ oidc, kubernetes })) {
    for (const [place, { name, issuer }] of list.entries()) {
      const earlier = list.slice(0, place);
      if (earlier.some((other) => other.name === name)) {
        told([kind, place, 'name'], TEXTS.issuerTwice({ name }));
      }
      const others = kind === 'oidc' ? earlier : oidc;
      if (others.some((other) => other.issuer === issuer)) {
        told([kind, place, 'issuer'], TEXTS.issuerShared);
      }
    }
  }
  for (const [place, cluster] of kubernetes.entries()) {
    for (const other of kubernetes.slice(0, place)) {
      const kid = sharedKid(cluster, other);
      const { name } = other;
      if (kid !== undefined) told(['kubernetes', place, 'jwks'], TEXTS.kidTwice({ name, kid }));
    }
  }
}

/** A key that is in the files of both, whose tokens could be of either. */
function sharedKid(one: IssuerDocument, other: IssuerDocument): string | undefined {
  if (one.issuer !== other.issuer || !('file' in one.jwks) || !('file' in other.jwks)) {
    return undefined;
  }
  const [keys, others] = [one.jwks, other.jwks].map(({ file }) =>
    parseJwks(readTextFile(file), file),
  );
  return keys?.keys().find((kid) => others?.has(kid));
}
