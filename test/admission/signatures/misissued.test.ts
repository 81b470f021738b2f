import { IDENTITY, ISSUER } from './authority.ts';
import { type Refused, signed, testRefused } from './keyless.ts';

const MISISSUED: readonly Refused[] = [
  ['another identity', await signed({ identity: IDENTITY.replace('app', 'fork') }), 'identity'],
  ['an identity that begins like ours', await signed({ identity: `${IDENTITY}-2` }), 'identity'],
  [
    'an identity that ends like ours',
    await signed({ identity: `https://example.com/?${IDENTITY}` }),
    'identity',
  ],
  [
    'an identity that is a part of ours',
    await signed({ identity: IDENTITY.slice(0, -1) }),
    'identity',
  ],
  [
    'an identity that ours would match as an expression',
    await signed({ identity: IDENTITY.replace('release.yml', 'release_yml') }),
    'identity',
  ],
  [
    'an identity in capitals',
    await signed({ identity: IDENTITY.replace('org/app', 'Org/App') }),
    'identity',
  ],
  ['an identity with a slash more', await signed({ identity: `${IDENTITY}/` }), 'identity'],
  [
    'an identity with an escape',
    await signed({ identity: IDENTITY.replace('app', '%61pp') }),
    'identity',
  ],
  ['an identity that is an expression', await signed({ identity: '.*' }), 'identity'],
  ['another issuer', await signed({ issuer: 'https://accounts.example.com' }), 'issuer'],
  ['an issuer that begins like ours', await signed({ issuer: `${ISSUER}.example.com` }), 'issuer'],
  [
    'an issuer that ends like ours',
    await signed({ issuer: `https://example.com/${ISSUER}` }),
    'issuer',
  ],
  ['an issuer with a slash more', await signed({ issuer: `${ISSUER}/` }), 'issuer'],
  [
    'an issuer that ours would match as an expression',
    await signed({ issuer: ISSUER.replaceAll('.', 'x') }),
    'issuer',
  ],
  ['no issuer', await signed({ issuer: '' }), 'certificate'],
  [
    'an identity of other letters whose low bits are ours',
    await signed({ issuer: lookalike(ISSUER) }),
    'certificate',
  ],
  ['an issuer with a line break', await signed({ issuer: `${ISSUER}\n` }), 'certificate'],
];

testRefused(MISISSUED);

/** Of each letter the one that has the same low seven bits of its bytes. */
function lookalike(name: string): string {
  return name.replace('i', '\u00e9');
}
