import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { readBundle } from '../../../src/admission/signatures/read-bundle.ts';
import { SignedContent } from '../../../src/admission/signatures/signed-content.ts';
import { SignerCheck } from '../../../src/admission/signatures/signer-check.ts';
import { Sigstore } from '../../../src/admission/signatures/sigstore.ts';
import { TrustRoot } from '../../../src/admission/signatures/trust-root.ts';
import type { Signer, Verified } from '../../../src/admission/verdict.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { newManifest, type Json } from './authority.ts';
import { codeOf } from './signed-by-cosign.ts';
import { flip, set, text, type Mutation } from './mutations.ts';

const FOLDER = join(import.meta.dirname, '..', 'fixtures', 'sigstore');
const GITHUB_LOGIN = 'https://github.com/login/oauth';
const GITHUB = 'https://token.actions.githubusercontent.com';

/** Who signed the bundles of the public Sigstore, and when its log saw them. */
const REAL: Readonly<Record<string, { identity: string; issuer: string; at: string }>> = {
  'dsse.json': {
    identity: 'brian@dehamer.com',
    issuer: GITHUB_LOGIN,
    at: '2022-11-09T23:00:36Z',
  },
  'provenance.json': {
    identity:
      'https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main',
    issuer: GITHUB,
    at: '2023-08-18T16:05:35Z',
  },
  'attestation.json': {
    identity: 'cody@soyland.com',
    issuer: GITHUB_LOGIN,
    at: '2025-02-28T19:18:11Z',
  },
};

for (const [file, { identity, issuer, at }] of Object.entries(REAL)) {
  const signer: Signer = { kind: 'keyless', identity, issuer };

  test(`${file} of the public Sigstore was signed by ${identity}`, (t) => {
    t.deepEqual(check(file, [signer]), { signer, at: Date.parse(at) });
  });

  test(`${file} of the public Sigstore was signed by nobody else, and says nothing else`, (t) => {
    t.throws(() => check(file, [{ ...signer, identity: `${identity}a` }]), { code: 'identity' });
    t.throws(() => check(file, [{ ...signer, issuer: `${issuer}a` }]), { code: 'issuer' });
    t.throws(() =>
      check(
        file,
        [signer],
        text('dsseEnvelope.payload', (value) => `${value} `),
      ),
    );
    t.throws(() => check(file, [signer], flip('dsseEnvelope.signatures.0.sig')));
    const entry = 'verificationMaterial.tlogEntries.0';
    t.throws(() => check(file, [signer], set(`${entry}.integratedTime`, '1700000000')));
  });
}

test('what the public Sigstore signed of something else counts for no image', (t) => {
  const manifest = newManifest();
  const image = { manifest, digest: digestOf(manifest) };
  const sigstore = new Sigstore({ root: readRoot('public-good.json'), keys: new Map() });
  const codes = ['dsse', 'provenance', 'attestation', 'dsse-two-signatures', 'publish'].map(
    (name) => {
      const asked = { image, kind: 'attestation', signers: [] } as const;
      return codeOf(sigstore.verifyBundle(read(`${name}.json`), asked));
    },
  );
  t.deepEqual(codes, [
    'predicate-type',
    'predicate-type',
    'predicate-type',
    'signatures',
    'predicate-type',
  ]);
});

function check(
  file: string,
  signers: readonly Signer[],
  mutation: Mutation = (bundle) => bundle,
): Pick<Verified, 'signer' | 'at'> {
  const written = mutation(JSON.parse(read(file).toString()) as Json);
  const bundle = readBundle(Buffer.from(JSON.stringify(written)), 2 ** 20);
  const content = new SignedContent(bundle, new Uint8Array());
  return new SignerCheck({ root: readRoot('public-good.json'), keys: new Map() }).check(
    bundle,
    content,
    signers,
  );
}

function readRoot(file: string): TrustRoot {
  return TrustRoot.parse(read(file));
}

function read(file: string): Buffer {
  return readFileSync(join(FOLDER, file));
}
