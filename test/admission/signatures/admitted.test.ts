import test from 'ava';
import { type Json } from './authority.ts';
import { chain, drop, edit, set } from './mutations.ts';
import {
  ENTRY,
  authority,
  first,
  judge,
  ours,
  ours512,
  plain,
  proven,
  signed,
  signers,
  statement,
  subject,
  theirs,
  version,
  withChain,
} from './keyless.ts';

const ADMITTED: readonly (readonly [name: string, bundle: Json])[] = [
  ['an envelope in a log that has a clock', first],
  [
    'an envelope in a log of the first version by its old kind',
    await signed({ log: 'intoto 0.0.2' }),
  ],
  ['an envelope in a log by its hash', await signed({ log: 'hashedrekord 0.0.1' })],
  ['an envelope in a log without a clock, with a timestamp', proven],
  ['an envelope in a log without a clock by its own kind', await signed({ log: 'dsse 0.0.2' })],
  ['an envelope that a log and a clock have seen', await signed({ isStamped: true })],
  ['a signature of the manifest itself', plain],
  [
    'a bundle of version 0.1',
    chain(withChain, version('0.1'), drop(`${ENTRY}.inclusionProof`))(first),
  ],
  ['a bundle of version 0.2', chain(withChain, version('0.2'))(first)],
  ['a bundle of version 0.3 by its first name', version('0.3')(first)],
  ['a signature at the last minute of its certificate', await signed({ laterMs: 599_000 })],
  [
    'a statement of the first form',
    await signed({ payload: statement({ _type: 'https://in-toto.io/Statement/v0.1' }) }),
  ],
  [
    'a subject by two algorithms',
    await signed({ payload: subject({ sha256: ours, sha512: ours512 }) }),
  ],
  [
    'a subject among others',
    await signed({
      payload: statement({
        subject: [{ digest: { sha256: theirs } }, { digest: { sha256: ours } }],
      }),
    }),
  ],
  ['numbers in place of texts', edit(`${ENTRY}.integratedTime`, Number)(first)],
  ['a hint of a key that is empty', set('dsseEnvelope.signatures.0.keyid', '')(first)],
];

for (const [name, bundle] of ADMITTED) {
  test(`${name} is admitted`, (t) => {
    const judged = judge(bundle);
    t.deepEqual('signer' in judged ? judged.signer : judged, signers[0]);
    const after = 'at' in judged ? (judged.at ?? 0) - authority.at : -1;
    t.true(after >= 0 && after <= 600_000, String(after));
  });
}
