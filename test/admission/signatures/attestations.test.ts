import test from 'ava';
import { Sigstore } from '../../../src/admission/signatures/sigstore.ts';
import { TrustRoot } from '../../../src/admission/signatures/trust-root.ts';
import type { Refusal, Verified } from '../../../src/admission/verdict.ts';
import type { Json } from './authority.ts';
import { authority, image, judge, other, plain, signed, signers, statement } from './keyless.ts';
import { codeOf } from './signed-by-cosign.ts';

const SPDX = 'https://spdx.dev/Document';
const MIB = 2 ** 20;

/** Whether a statement of this type is one of those that rules read. */
const TYPES: readonly (readonly [predicateType: string, isRead: boolean])[] = [
  [SPDX, true],
  [`${SPDX}/v2.3`, true],
  ['https://cyclonedx.org/bom', true],
  ['https://cyclonedx.org/bom/v1.6', true],
  ['https://cyclonedx.org/vex', true],
  ['https://openvex.dev/ns', true],
  ['https://openvex.dev/ns/v0.2.0', true],
  ['https://cosign.sigstore.dev/attestation/vuln/v1', true],
  ['https://cosign.sigstore.dev/attestation/vuln/v2', false],
  ['https://cosign.sigstore.dev/attestation/v1', false],
  ['https://sigstore.dev/cosign/sign/v1', false],
  ['https://slsa.dev/provenance/v1', false],
  ['https://spdx.dev/Documents', false],
  ['https://spdxxdev/Document', false],
  ['http://spdx.dev/Document', false],
  ['https://spdx.dev/Document/', false],
  ['https://spdx.dev/Document/v2.3/more', false],
  ['https://openvex.dev/ns?v=1', false],
  ['', false],
];

for (const [predicateType, isRead] of TYPES) {
  test(`a statement of ${JSON.stringify(predicateType)} ${isRead ? 'tells what it states' : 'is not read'}`, async (t) => {
    const predicate = { name: 'app' };
    const judged = attest(await signed({ payload: statement({ predicateType, predicate }) }));
    if (isRead) t.like(judged, { signer: signers[0], statement: { predicateType, predicate } });
    else t.is(codeOf(judged), 'predicate-type');
  });
}

test('a statement of another image tells nothing of this one', async (t) => {
  const payload = statement({ predicateType: SPDX }, other);
  t.is(codeOf(attest(await signed({ payload }))), 'subject');
});

test('a signature outside an envelope states nothing', (t) => {
  t.is(codeOf(attest(plain)), 'predicate-type');
});

test('a statement may have 16 MiB, a signature 1 MiB', async (t) => {
  const large = await signed({ payload: stateOf(10 * MIB) });
  t.is(codeOf(attest(large)), 'admitted');
  t.is(codeOf(judge(large)), 'too-large');
  t.is(codeOf(attest(await signed({ payload: stateOf(13 * MIB) }))), 'too-large');
});

function stateOf(bytes: number): Buffer {
  return statement({ predicateType: SPDX, predicate: { name: 'a'.repeat(bytes) } });
}

function attest(bundle: Json): Verified | Refusal {
  const root = TrustRoot.parse(Buffer.from(JSON.stringify(authority.root)));
  const asked = { image, kind: 'attestation', signers } as const;
  return new Sigstore({ root, keys: new Map() }).verifyBundle(
    Buffer.from(JSON.stringify(bundle)),
    asked,
  );
}
