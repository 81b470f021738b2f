import * as z from 'zod';
import { admissionTrustSchema } from './admission-trust-schema.ts';
import { parseGlobs } from './glob.ts';
import { duration } from './quantity.ts';
import { validated } from './section.ts';
import { scannerSchema } from './scanner-schema.ts';
import { signersSchema, type WrittenSigner } from './signer-schema.ts';
import type { Source } from './source.ts';
import { TEXTS } from './texts.ts';
import { exceptionsSchema, vulnerabilitiesSchema, wordMeant } from './vulnerabilities-schema.ts';

/** `audit` only tells what would be refused. */
const MODES = ['off', 'audit', 'enforce'] as const;
const MINUTE = 60_000;
const MAX_AGE_MS = 365 * 24 * 60 * MINUTE;

/** `admission`: what may be pulled. Without it everything may. The files of keys and roots are looked at. */
export function admissionSchema(source: Source) {
  return z
    .strictObject(
      {
        trust: admissionTrustSchema(source).describe('Whose signatures can be verified.'),
        scanner: scannerSchema(source),
        rules: z
          .array(ruleSchema(source), {
            error: ({ input }) => (isMap(input) ? TEXTS.admissionListAround : undefined),
          })
          .prefault([])
          .describe('An image has to meet each rule about its repository.'),
      },
      { error: ({ code }) => (code === 'invalid_type' ? TEXTS.admissionMap : undefined) },
    )
    .superRefine(checkRules)
    .exactOptional();
}

function isMap(input: unknown): boolean {
  return typeof input === 'object' && input !== null;
}

function ruleSchema(source: Source) {
  return z.strictObject({
    images: z
      .array(z.string().transform(validated((glob: string) => parseGlobs([glob]))))
      .min(1, TEXTS.accessImages)
      .describe('Repositories with their registry; globs of them.'),
    mode: z
      .enum(MODES, { error: ({ input }) => wordMeant(input, MODES, TEXTS.admissionMode) })
      .describe('enforce: refuse. audit: only tell what would be refused. off: neither.'),
    signedBy: signersSchema()
      .exactOptional()
      .describe('One of them has to have signed the image, or an index that lists it.'),
    minAge: duration
      .refine((ms) => ms >= MINUTE && ms <= MAX_AGE_MS, TEXTS.admissionMinAge)
      .exactOptional()
      .describe('How long the image has to be known here, or signed, from 1m to 365d.'),
    vulnerabilities: vulnerabilitiesSchema(source),
    attestedBy: signersSchema()
      .exactOptional()
      .describe('Whose VEX and scans that are attached count. Default: signedBy.'),
    exceptions: exceptionsSchema(),
  });
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
  readonly signedBy?: readonly WrittenSigner[];
  readonly minAge?: number;
  readonly attestedBy?: readonly WrittenSigner[];
  readonly vulnerabilities?: object;
  readonly exceptions?: readonly object[];
}

/** An error where a rule asks nothing, or nobody could ever meet it. */
function checkRules({ trust, scanner, rules }: Written, context: z.RefinementCtx): void {
  for (const [at, rule] of rules.entries()) {
    const tell = (message: string, ...path: (string | number)[]): void =>
      context.addIssue({ code: 'custom', path: ['rules', at, ...path], message });
    const { signedBy = [], attestedBy = [], minAge, vulnerabilities, exceptions = [] } = rule;
    if (!rule.signedBy && minAge === undefined && !vulnerabilities)
      tell(TEXTS.admissionAsksNothing);
    const isAttested = (rule.attestedBy ?? signedBy).some(({ notation }) => !notation);
    const isTold = scanner?.adapter !== undefined || isAttested;
    if (vulnerabilities && !isTold) tell(TEXTS.admissionNoFindings, 'vulnerabilities');
    if (!vulnerabilities && exceptions.length > 0) tell(TEXTS.admissionExceptions, 'exceptions');
    for (const [list, signers] of Object.entries({ signedBy, attestedBy })) {
      for (const [place, { key, identity, notation }] of signers.entries()) {
        if (notation) {
          if (list === 'attestedBy') tell(TEXTS.admissionNotAttesting, list, place);
          else if (!trust.notation) tell(TEXTS.admissionNoStores, list, place);
        } else if (key === undefined) {
          if (identity !== undefined && !trust.sigstore) tell(TEXTS.admissionNoRoot, list, place);
        } else if (!Object.hasOwn(trust.keys, key)) {
          const known = Object.keys(trust.keys).join(' or ');
          tell(TEXTS.admissionNoKey({ name: key, known }), list, place);
        }
      }
    }
  }
}
