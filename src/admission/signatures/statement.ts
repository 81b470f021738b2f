import { refuse } from './refused.ts';
import { checkDigests, isNamed, type SignedImage } from './signed-image.ts';
import { asObject, asText, parseStrictObject } from './strict-json.ts';
import { TEXTS } from './texts.ts';

/** What a signature is asked for: that the image is somebody's, or what somebody states of it. */
export type Kind = 'signature' | 'attestation';

export interface Statement {
  readonly predicateType: string;
  readonly predicate: unknown;
}

const PAYLOAD_TYPE = 'application/vnd.in-toto+json';
const STATEMENT_TYPES = new Set([
  'https://in-toto.io/Statement/v0.1',
  'https://in-toto.io/Statement/v1',
]);
const MAX_SUBJECTS = 1024;
const SIGNATURE_PREDICATE = 'https://sigstore.dev/cosign/sign/v1';
/** SPDX, CycloneDX, OpenVEX with their versions, and scans as cosign and in-toto write them. */
const ATTESTATION_PREDICATE =
  /^https:\/\/(?:spdx\.dev\/Document|cyclonedx\.org\/(?:bom|vex)|openvex\.dev\/ns)(?:\/v?[0-9][0-9.]*)?$|^(?:https:\/\/)?cosign\.sigstore\.dev\/attestation\/vuln\/v1$|^https:\/\/in-toto\.io\/attestation\/vulns(?:\/v0\.[12])?$/;
const CLASSIC_TYPE = 'cosign container image signature';

/**
 * What an in-toto statement says of the image; `undefined` for a signature, which says no more than that.
 * At most 1024 subjects. Throws `Refused`.
 * @see https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
 */
export function readStatement(
  { payloadType, payload }: { readonly payloadType: string; readonly payload: Uint8Array },
  image: SignedImage,
  kind: Kind,
): Statement | undefined {
  if (payloadType !== PAYLOAD_TYPE) throw refuse('payload-type', { type: payloadType });
  const statement = parseStrictObject(payload, 'the statement', payload.length);
  const type = asText(statement['_type'], '_type');
  if (!STATEMENT_TYPES.has(type)) throw refuse('statement-type', { type });
  const predicateType = asText(statement['predicateType'], 'predicateType');
  const isAsked =
    kind === 'signature'
      ? predicateType === SIGNATURE_PREDICATE
      : ATTESTATION_PREDICATE.test(predicateType);
  if (!isAsked) throw refuse('predicate-type', { type: predicateType });
  checkSubjects(statement['subject'], image);
  return kind === 'signature' ? undefined : { predicateType, predicate: statement['predicate'] };
}

/**
 * Throws `Refused` unless the payload that earlier versions of cosign sign is of the image. The repository
 * that it names is where the image was signed: it may have been copied since, and is the same image.
 * @see https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#simple-signing
 */
export function checkSimpleSigning(payload: Uint8Array, image: SignedImage): void {
  const { critical } = parseStrictObject(payload, 'the payload', payload.length);
  const { type, image: named } = asObject(critical, 'critical');
  if (type !== CLASSIC_TYPE) throw refuse('payload-type', { type: String(type) });
  const digest = asText(asObject(named, 'image')['docker-manifest-digest'], 'digest');
  const [, algorithm = '', encoded = ''] = /^(\w+):(\w+)$/.exec(digest) ?? [];
  checkDigests({ [algorithm]: encoded }, image);
}

function checkSubjects(subjects: unknown, image: SignedImage): void {
  const list: readonly unknown[] = Array.isArray(subjects) ? subjects : [];
  if (list.length > MAX_SUBJECTS) {
    const why = TEXTS.tooMany({ what: 'subjects', most: MAX_SUBJECTS });
    throw refuse('malformed', { why });
  }
  const named = list.map((each) => asObject(asObject(each, 'subject')['digest'], 'digest'));
  const ours = named.filter((digests) => isNamed(digests, image));
  if (ours.length === 0) throw refuse('subject');
  for (const digests of ours) checkDigests(digests, image);
}
