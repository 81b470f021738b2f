import { digestOf } from '../../../src/oci/digest.ts';
import { chain, drop, set } from './mutations.ts';
import {
  ENTRY,
  type Refused,
  SIGN,
  first,
  other,
  ours,
  ours512,
  signed,
  statement,
  subject,
  testRefused,
  theirs,
  version,
  withChain,
} from './keyless.ts';

const OTHER_KIND: readonly Refused[] = [
  [
    'an attestation in place of a signature',
    await signed({ payload: statement({ predicateType: 'https://spdx.dev/Document' }) }),
    'predicate-type',
  ],
  [
    'a predicate that begins like the signature',
    await signed({ payload: statement({ predicateType: `${SIGN}.1` }) }),
    'predicate-type',
  ],
  [
    'a predicate of no type',
    await signed({ payload: statement({ predicateType: undefined }) }),
    'malformed',
  ],
  [
    'a predicate type that is a list',
    await signed({ payload: statement({ predicateType: [SIGN] }) }),
    'malformed',
  ],
  [
    'a statement of an unknown form',
    await signed({ payload: statement({ _type: 'https://in-toto.io/Statement/v2' }) }),
    'statement-type',
  ],
  [
    'a statement without a form',
    await signed({ payload: statement({ _type: undefined }) }),
    'malformed',
  ],
  ['a payload of another type', await signed({ payloadType: 'text/plain' }), 'payload-type'],
  [
    'a payload of a type with a parameter',
    await signed({ payloadType: 'application/vnd.in-toto+json; charset=utf-8' }),
    'payload-type',
  ],
  [
    'a payload that was given our type',
    set(
      'dsseEnvelope.payloadType',
      'application/vnd.in-toto+json',
    )(await signed({ payloadType: 'text/plain' })),
    'signature',
  ],
  [
    'the type of a later version',
    set('mediaType', 'application/vnd.dev.sigstore.bundle.v0.4+json')(first),
    'media-type',
  ],
  [
    'the type of version 0.3 with more',
    set('mediaType', 'application/vnd.dev.sigstore.bundle.v0.3+json; a=b')(first),
    'media-type',
  ],
  [
    'the type of an image',
    set('mediaType', 'application/vnd.oci.image.manifest.v1+json')(first),
    'media-type',
  ],
  [
    'a type that is a list',
    set('mediaType', ['application/vnd.dev.sigstore.bundle.v0.3+json'])(first),
    'malformed',
  ],
  ['a chain in version 0.3', withChain(first), 'malformed'],
  [
    'a promise alone in version 0.2',
    chain(withChain, version('0.2'), drop(`${ENTRY}.inclusionProof`))(first),
    'malformed',
  ],
];

const SUBJECTS: readonly Refused[] = [
  ['no subject', await signed({ payload: statement({ subject: [] }) }), 'subject'],
  [
    'a subject that is no list',
    await signed({ payload: statement({ subject: { digest: { sha256: ours } } }) }),
    'subject',
  ],
  [
    'a subject without a digest',
    await signed({ payload: statement({ subject: [{ name: 'a' }] }) }),
    'malformed',
  ],
  [
    'a subject by SHA-512 alone',
    await signed({ payload: subject({ sha512: ours512 }) }),
    'subject',
  ],
  [
    'a subject whose SHA-512 is of another image',
    await signed({
      payload: subject({ sha256: ours, sha512: digestOf(other, 'sha512').slice(7) }),
    }),
    'subject',
  ],
  [
    'a subject by an unknown algorithm too',
    await signed({ payload: subject({ sha256: ours, md5: 'ab' }) }),
    'digest-algorithm',
  ],
  [
    'a subject by the name of something that all objects have',
    await signed({ payload: subject({ sha256: ours, constructor: 'ab' }) }),
    'digest-algorithm',
  ],
  [
    'a subject in capitals',
    await signed({ payload: subject({ sha256: ours.toUpperCase() }) }),
    'subject',
  ],
  [
    'a subject with its algorithm in the value',
    await signed({ payload: subject({ sha256: `sha256:${ours}` }) }),
    'subject',
  ],
  [
    'a subject that is the first half',
    await signed({ payload: subject({ sha256: ours.slice(0, 32) }) }),
    'subject',
  ],
  ['a subject that is a list', await signed({ payload: subject({ sha256: [ours] }) }), 'subject'],
  [
    'a subject by SHA-1 of the same name',
    await signed({ payload: subject({ sha1: ours }) }),
    'subject',
  ],
  [
    'the name of this image with the digest of another one',
    await signed({ payload: subject({ sha256: theirs }) }),
    'subject',
  ],
  [
    '1025 subjects',
    await signed({
      payload: statement({
        subject: Array.from({ length: 1025 }, () => ({ digest: { sha256: ours } })),
      }),
    }),
    'malformed',
  ],
];

testRefused([...OTHER_KIND, ...SUBJECTS]);
