import * as z from 'zod';
import { parseGlob } from './glob.ts';
import { repeated } from './problems.ts';
import { validated } from './section.ts';
import { isSubjectOf, parseSubjectName } from './subject-name.ts';
import { TEXTS } from './texts.ts';

/** Of Notation: `audit` asks only that a signature is whole. */
const LEVELS = ['strict', 'audit'] as const;

/** `signedBy` and `attestedBy` of a rule: who may have signed; one of them is enough. */
export function signersSchema() {
  const signer = z
    .strictObject(
      {
        key: z
          .string({ error: TEXTS.admissionKeyText })
          .exactOptional()
          .describe('A name among trust.keys.'),
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
      },
      { error: ({ code, input }) => (code === 'invalid_type' ? signerMeant(input) : undefined) },
    )
    .superRefine(checkSigner);
  return z
    .array(signer, {
      error: ({ input }) => signersMeant(input),
    })
    .min(1, TEXTS.admissionSigner);
}

function signerMeant(input: unknown): string {
  if (typeof input !== 'string') return TEXTS.admissionSigner;
  return TEXTS.admissionSignerMap({ value: repeated(input) });
}

function signersMeant(input: unknown): string {
  if (typeof input === 'string') return TEXTS.admissionSignerList({ value: repeated(input) });
  const isMap = typeof input === 'object' && input !== null;
  return isMap ? TEXTS.admissionListAround : TEXTS.admissionSigner;
}

function notationSchema() {
  return z.strictObject(
    {
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
    },
    { error: ({ code }) => (code === 'invalid_type' ? TEXTS.admissionNotationSigner : undefined) },
  );
}

export interface WrittenSigner {
  readonly key?: string;
  readonly identity?: string;
  readonly issuer?: string;
  readonly notation?: object;
}

/** A key, an identity with its issuer, without which anybody may have it, or those of Notation: one of these. */
function checkSigner(signer: WrittenSigner, context: z.RefinementCtx): void {
  const message = faultOf(signer);
  if (message !== undefined) context.addIssue({ code: 'custom', message });
}

function faultOf({ key, identity, issuer, notation }: WrittenSigner): string | undefined {
  const isKeyless = identity !== undefined || issuer !== undefined;
  const ways = [key !== undefined, isKeyless, notation !== undefined].filter(Boolean);
  if (ways.length === 0) return TEXTS.admissionSigner;
  if (ways.length > 1) return TEXTS.admissionSeveral;
  if (!isKeyless) return undefined;
  if (issuer === undefined) return TEXTS.admissionNoIssuer;
  return identity === undefined ? TEXTS.admissionNoIdentity : undefined;
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
