import test from 'ava';
import { TrustRoot } from '../../../src/admission/signatures/trust-root.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { Authority, type Json } from './authority.ts';
import { drop, flip, repeat, set } from './mutations.ts';

const { root } = await Authority.create();
const CHAIN = 'certificateAuthorities.0.certChain.certificates';

test('a trust root is known by the digest of its bytes', (t) => {
  const bytes = Buffer.from(JSON.stringify(root));
  t.is(TrustRoot.parse(bytes).digest, digestOf(bytes));
  for (const type of ['trustedroot.v0.1+json', 'trustedroot.v0.2+json']) {
    const other = set('mediaType', `application/vnd.dev.sigstore.${type}`)(root);
    t.notThrows(() => TrustRoot.parse(Buffer.from(JSON.stringify(other))));
  }
});

const REFUSED: readonly (readonly [name: string, root: Json | string, reason: RegExp])[] = [
  [
    'of another type',
    set('mediaType', 'application/json')(root),
    /"application\/json" is no trust root/,
  ],
  [
    'of a later version',
    set('mediaType', 'application/vnd.dev.sigstore.trustedroot.v0.3+json')(root),
    /no trust root/,
  ],
  ['of no type', drop('mediaType')(root), /no trust root/],
  ['with no authority of certificates', set('certificateAuthorities', [])(root), /no authority/],
  ['with 65 logs', repeat('tlogs', 65)(root), /more than 64 authorities/],
  ['with 11 certificates in a chain', repeat(CHAIN, 11)(root), /more than 10 certificates/],
  ['with a certificate that is none', set(CHAIN, [{ rawBytes: 'AAAA' }])(root), /./],
  ['with a key that is none', flip('tlogs.0.publicKey.rawBytes', 0)(root), /./],
  ['without a key', drop('tlogs.0.publicKey')(root), /./],
  ['of more than 1 MiB', set('extra', 'a'.repeat(2 ** 20))(root), /more than 1048576 bytes/],
  [
    'with a name twice',
    JSON.stringify(root).replace('{', '{"mediaType":"a",'),
    /"mediaType" twice/,
  ],
  ['that is cut short', JSON.stringify(root).slice(0, -1), /no JSON/],
  ['that is a list', '[]', /no object/],
];

for (const [name, written, reason] of REFUSED) {
  test(`a trust root ${name} is none`, (t) => {
    const bytes = Buffer.from(typeof written === 'string' ? written : JSON.stringify(written));
    t.throws(() => TrustRoot.parse(bytes), { instanceOf: TypeError, message: reason });
  });
}
