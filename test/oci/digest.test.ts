import { createHash } from 'node:crypto';
import test from 'ava';
import * as fc from 'fast-check';
import { Digester, digestOf, isDigest, parseDigest, splitDigest } from '../../src/oci/digest.ts';
import { RegistryError } from '../../src/oci/errors.ts';

const SHA256 = 'a'.repeat(64);
const SHA512 = 'b'.repeat(128);

const accept = test.macro<[string, string]>({
  exec: (t, text: string, algorithm: string) => {
    const digest = parseDigest(text);
    t.is<string, string>(digest, text);
    t.true(isDigest(text));
    const parts = splitDigest(digest);
    t.is<string, string>(parts.algorithm, algorithm);
    t.is(`${parts.algorithm}:${parts.encoded}`, text);
  },
  title: (_, text) => `a digest: ${text.slice(0, 40)}`,
});

test(accept, `sha256:${SHA256}`, 'sha256');
test(accept, `sha512:${SHA512}`, 'sha512');
test(accept, `sha256:${'0123456789abcdef'.repeat(4)}`, 'sha256');

function abbreviate(text: string): string {
  const whole = JSON.stringify(text);
  return whole.length > 50 ? `${whole.slice(0, 25)}…${whole.slice(-20)}` : whole;
}

const refuse = test.macro<[string]>({
  exec: (t, text: string) => {
    t.false(isDigest(text));
    const error = t.throws<RegistryError>(() => parseDigest(text), { instanceOf: RegistryError });
    t.is(error?.code, 'DIGEST_INVALID');
    t.is(error?.status, 400);
    t.true(JSON.stringify(error).length < 600, 'the answer stays short');
  },
  title: (_, text) => `no digest: ${abbreviate(text)}, ${text.length} characters`,
});

for (const text of [
  '',
  ':',
  'sha256',
  'sha256:',
  `:${SHA256}`,
  SHA256,
  `sha256:${SHA256.slice(1)}`,
  `sha256:${SHA256}a`,
  `sha256:${SHA256.toUpperCase()}`,
  `sha256:${SHA256.slice(1)}g`,
  `sha256:${SHA256}\n`,
  `\nsha256:${SHA256}`,
  ` sha256:${SHA256}`,
  `sha256:${SHA256} `,
  `sha256:${SHA256}\0`,
  `SHA256:${SHA256}`,
  `sha256:${SHA512}`,
  `sha512:${SHA256}`,
  `sha512:${SHA512.toUpperCase()}`,
  `sha384:${'a'.repeat(96)}`,
  `md5:${'a'.repeat(32)}`,
  `blake3:${SHA256}`,
  `sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564`,
  `multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8`,
  `__proto__:${SHA256}`,
  `constructor:${SHA256}`,
  `toString:${SHA256}`,
  `sha256:${SHA256}:${SHA256}`,
  `sha256:../../../etc/passwd`,
  `sha256:${'a'.repeat(100_000)}`,
  `${'a.'.repeat(50_000)}:x`,
]) {
  test(refuse, text);
}

test('what is no string is no digest', (t) => {
  for (const value of [undefined, null, 1, {}, [], [`sha256:${SHA256}`], Buffer.from('x')]) {
    t.false(isDigest(value));
  }
});

test('the digest of bytes is that of the algorithm, and parses', (t) => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.constantFrom('sha256', 'sha512'), (bytes, algorithm) => {
      const digest = digestOf(bytes, algorithm);
      const expected = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
      return digest === expected && parseDigest(digest) === digest && isDigest(digest);
    }),
  );
  t.regex(digestOf(Buffer.alloc(0)), /^sha256:e3b0c44298fc1c14/);
});

test('a running hash over any pieces is the digest of the whole, and a copy goes its own way', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array(), { minLength: 1 }),
      fc.constantFrom('sha256', 'sha512'),
      (pieces, algorithm) => {
        const digester = new Digester(algorithm);
        const [first = new Uint8Array(), ...rest] = pieces;
        digester.update(first);
        const copy = digester.copy();
        copy.update(Buffer.from('another end'));
        for (const piece of rest) digester.update(piece);
        const whole = Buffer.concat(pieces);
        return (
          digester.value() === digestOf(whole, algorithm) &&
          copy.value() === digestOf(Buffer.concat([first, Buffer.from('another end')]), algorithm)
        );
      },
    ),
  );
  t.pass();
});

test('any text is a digest or DIGEST_INVALID', (t) => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.stringMatching(/^[a-z0-9+._-]{0,8}:[a-zA-Z0-9=_-]{0,70}$/)),
      (text) => {
        try {
          return parseDigest(text) === text;
        } catch (error) {
          return error instanceof RegistryError && error.code === 'DIGEST_INVALID';
        }
      },
    ),
  );
  t.pass();
});
