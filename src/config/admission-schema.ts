import { createPublicKey } from 'node:crypto';
import { resolve } from 'node:path';
import * as z from 'zod';
import { parseGlob, parseGlobs } from './glob.ts';
import { findStores, readStores } from './notation-stores.ts';
import { ConfigError } from './problems.ts';
import { duration } from './quantity.ts';
import { section, validated } from './section.ts';
import { readTextFile, type Source } from './source.ts';
import { scannerSchema } from './scanner-schema.ts';
import { isSubjectOf, parseSubjectName } from './subject-name.ts';
import { TEXTS } from './texts.ts';
import { exceptionsSchema, vulnerabilitiesSchema } from './vulnerabilities-schema.ts';

/** `audit` only tells what would be refused. */
const MODES = ['off', 'audit', 'enforce'] as const;
const MINUTE = 60_000;
const MAX_AGE_MS = 365 * 24 * 60 * MINUTE;
/** Of Notation: `audit` asks only that a signature is whole. */
const LEVELS = ['strict', 'audit'] as const;
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$/;

/** `admission`: what may be pulled. Without it everything may. The files of keys and roots are looked at. */
export function admissionSchema(source: Source) {
  const file = z
    .string()
    .min(1, TEXTS.file)
    .meta({ title: 'file' })
    .transform((path) => resolve(source.directory, path));
  const key = z.strictObject({
    file: file
      .transform(validated(checkPublicKey))
      .describe('Public key in PEM, as cosign writes it. Read again on change.'),
  });
  return z
    .strictObject({
      trust: section('keys', {
        sigstore: z
          .strictObject({
            trustedRoot: file
              .transform(validated(checkTrustedRoot))
              .describe('trusted_root.json of a Sigstore. Read again on change.'),
          })
          .exactOptional()
          .describe('To whom signatures without keys are traced back.'),
        keys: z
          .record(z.string().regex(NAME, TEXTS.admissionKeyName), key)
          .prefault({})
          .describe('Public keys, by names of your own.'),
        notation: z
          .strictObject({
            stores: file
              .transform(validated(checkStores))
              .describe(
                'Folder as Notation lays it out: x509/ca/NAME/*.pem. Read again on change.',
              ),
          })
          .exactOptional()
          .describe('To whom Notation signatures are traced back.'),
      }).describe('Whose signatures can be verified.'),
      scanner: scannerSchema(source),
      rules: z
        .array(ruleSchema(source))
        .prefault([])
        .describe('An image has to meet each rule about its repository.'),
    })
    .superRefine(checkRules)
    .exactOptional();
}

function ruleSchema(source: Source) {
  const signer = z
    .strictObject({
      key: z.string().exactOptional().describe('A name among trust.keys.'),
      identity: z
        .string()
        .min(1, TEXTS.admissionSigner)
        .transform(validated(parseGlob))
        .exactOptional()
        .describe('Who the certificate names: the whole of it, or a glob.'),
      issuer: z
        .string()
        .min(1, TEXTS.admissionSigner)
        .exactOptional()
        .describe('Who says so: the whole address of the OIDC provider.'),
      notation: notationSchema().exactOptional().describe('Who signs with Notation.'),
    })
    .refine(isWhole, TEXTS.admissionSigner);
  return z.strictObject({
    images: z
      .array(z.string().transform(validated((glob: string) => parseGlobs([glob]))))
      .min(1, TEXTS.accessImages)
      .describe('Repositories with their registry; globs of them.'),
    mode: z
      .enum(MODES, { error: TEXTS.admissionMode })
      .describe('enforce: refuse. audit: only tell what would be refused. off: neither.'),
    signedBy: z
      .array(signer)
      .min(1, TEXTS.admissionSigner)
      .exactOptional()
      .describe('One of them has to have signed the image, or an index that lists it.'),
    minAge: duration
      .refine((ms) => ms >= MINUTE && ms <= MAX_AGE_MS, TEXTS.admissionMinAge)
      .exactOptional()
      .describe('How long the image has to be known here, or signed, from 1m to 365d.'),
    vulnerabilities: vulnerabilitiesSchema(source),
    attestedBy: z
      .array(signer)
      .min(1, TEXTS.admissionSigner)
      .exactOptional()
      .describe('Whose VEX and scans that are attached count. Default: signedBy.'),
    exceptions: exceptionsSchema(),
  });
}

function notationSchema() {
  return z.strictObject({
    identities: z
      .array(z.string().transform(validated(parseSubjectName)))
      .min(1, TEXTS.admissionSigner)
      .superRefine(checkOverlaps)
      .describe(
        'Whom certificates name: "x509.subject: C=US, ST=WA, O=Example", or more of the name.',
      ),
    level: z
      .enum(LEVELS, { error: TEXTS.admissionLevel })
      .prefault('strict')
      .describe('audit: whoever signed counts, and the log tells what strict would refuse.'),
  });
}

interface Signer {
  readonly key?: string;
  readonly identity?: string;
  readonly issuer?: string;
  readonly notation?: object;
}

/** A key, an identity with its issuer, without which anybody may have it, or those of Notation: one of these. */
function isWhole({ key, identity, issuer, notation }: Signer): boolean {
  const isKeyless = identity !== undefined || issuer !== undefined;
  const isNamed = identity !== undefined && issuer !== undefined;
  const ways = [key !== undefined, isKeyless, notation !== undefined].filter(Boolean);
  return ways.length === 1 && (!isKeyless || isNamed);
}

/** Notation wants to know which identity a signature is of. What could not be read is told elsewhere. */
function checkOverlaps(identities: readonly string[], context: z.RefinementCtx): void {
  const names = identities.map(parseSubjectName);
  for (const [at, name] of names.entries()) {
    const isDouble = names.some((other, place) => place !== at && isSubjectOf(other, name));
    if (!isDouble) continue;
    const message = TEXTS.admissionOverlap({ value: identities[at] ?? '' });
    context.addIssue({ code: 'custom', path: [at], message });
  }
}

interface Written {
  readonly trust: {
    readonly sigstore?: object;
    readonly keys: Readonly<Record<string, unknown>>;
    readonly notation?: object;
  };
  readonly scanner?: { readonly adapter?: string };
  readonly rules: readonly WrittenRule[];
}

interface WrittenRule {
  readonly signedBy?: readonly Signer[];
  readonly minAge?: number;
  readonly attestedBy?: readonly Signer[];
  readonly vulnerabilities?: object;
  readonly exceptions?: readonly object[];
}

/** An error where a rule asks nothing, or nobody could ever meet it. */
function checkRules({ trust, scanner, rules }: Written, context: z.RefinementCtx): void {
  for (const [at, rule] of rules.entries()) {
    const tell = (message: string, ...path: (string | number)[]): void =>
      context.addIssue({ code: 'custom', path: ['rules', at, ...path], message });
    const { signedBy = [], attestedBy = [], minAge, vulnerabilities, exceptions = [] } = rule;
    if (signedBy.length === 0 && minAge === undefined && !vulnerabilities)
      tell(TEXTS.admissionAsksNothing);
    const isAttested = (rule.attestedBy ?? signedBy).some(({ notation }) => !notation);
    const isTold = scanner?.adapter !== undefined || isAttested;
    if (vulnerabilities && !isTold) tell(TEXTS.admissionNoFindings, 'vulnerabilities');
    if (!vulnerabilities && exceptions.length > 0) tell(TEXTS.admissionExceptions, 'exceptions');
    for (const [list, signers] of Object.entries({ signedBy, attestedBy })) {
      for (const [place, { key, notation }] of signers.entries()) {
        if (notation) {
          if (list === 'attestedBy') tell(TEXTS.admissionNotAttesting, list, place);
          else if (!trust.notation) tell(TEXTS.admissionNoStores, list, place);
        } else if (key === undefined) {
          if (!trust.sigstore) tell(TEXTS.admissionNoRoot, list, place);
        } else if (!Object.hasOwn(trust.keys, key)) {
          tell(TEXTS.admissionNoKey({ name: key }), list, place);
        }
      }
    }
  }
}

function checkPublicKey(path: string): void {
  const text = readTextFile(path);
  try {
    if (text.includes('PRIVATE KEY')) throw new TypeError('a private key');
    createPublicKey(text);
  } catch (cause) {
    throw new ConfigError([TEXTS.notSignerKey({ path })], { cause });
  }
}

function checkStores(folder: string): void {
  readStores(folder, findStores(folder).files);
}

function checkTrustedRoot(path: string): void {
  const text = readTextFile(path);
  try {
    const { mediaType } = JSON.parse(text) as { mediaType?: unknown };
    if (String(mediaType).startsWith('application/vnd.dev.sigstore.trustedroot')) return;
  } catch (cause) {
    throw new ConfigError([TEXTS.notTrustedRoot({ path })], { cause });
  }
  throw new ConfigError([TEXTS.notTrustedRoot({ path })]);
}
