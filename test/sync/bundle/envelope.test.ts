import * as fc from 'fast-check';
import test from 'ava';
import { BundleError } from '../../../sync/bundle/bundle-error.ts';
import {
  envelopeSize,
  openEnvelope,
  PAYLOAD_TYPE,
  readEnvelope,
  sealEnvelope,
} from '../../../sync/bundle/envelope.ts';
import { SigningKey } from '../../../sync/bundle/signing-key.ts';
import type { TrustedKey } from '../../../sync/bundle/trusted-key.ts';

const TYPE = PAYLOAD_TYPE.manifest;
const KEYS = [SigningKey.generate(), SigningKey.generate('p256')];
const TRUSTED = KEYS.map((key) => key.public);
const PAYLOAD = Buffer.from('{"number":1}\n');

test('an envelope gives its payload and the key that signed it, whatever that is', (t) => {
  for (const key of KEYS) {
    const bytes = sealEnvelope(PAYLOAD, TYPE, key);
    const { payload, key: found } = openEnvelope(bytes, { type: TYPE, keys: TRUSTED });
    t.deepEqual(payload, PAYLOAD);
    t.is(found.id, key.public.id);
    t.is(bytes.length, envelopeSize(PAYLOAD.length, TYPE));
    const { signature, ...rest } = readEnvelope(bytes, TYPE);
    t.deepEqual(rest, { payload: PAYLOAD, keyId: key.public.id });
    t.is(signature.length, 64);
  }
});

test('what is signed is what DSSE says: its version, the type and the payload, each with its length', (t) => {
  const { signature } = readEnvelope(sealEnvelope(PAYLOAD, TYPE, KEYS[0]!), TYPE);
  const signed = `DSSEv1 39 application/vnd.entrepot.bundle.v1+json 13 {"number":1}\n`;
  t.true(TRUSTED[0]!.verify(Buffer.from(signed), signature));
});

test('with Ed25519 the same payload has the same envelope', (t) => {
  const [key] = KEYS;
  t.deepEqual(sealEnvelope(PAYLOAD, TYPE, key!), sealEnvelope(PAYLOAD, TYPE, key!));
});

test('the key that it names is a hint alone', (t) => {
  const [first, second] = KEYS as [SigningKey, SigningKey];
  const text = sealEnvelope(PAYLOAD, TYPE, first).toString();
  const hinted = Buffer.from(text.replace(first.public.id, second.public.id));
  t.is(openEnvelope(hinted, { type: TYPE, keys: TRUSTED }).key.id, first.public.id);
  const error = t.throws(() => openEnvelope(hinted, { type: TYPE, keys: [second.public] }));
  t.is((error as BundleError).code, 'signature');
});

test('a foreign key, no key, another type and a second signature are refused', (t) => {
  const [key, other] = KEYS as [SigningKey, SigningKey];
  const bytes = sealEnvelope(PAYLOAD, TYPE, key);
  const code = (
    envelope: Uint8Array,
    keys: readonly TrustedKey[] = TRUSTED,
    type: typeof TYPE | typeof PAYLOAD_TYPE.trailer = TYPE,
  ): string => {
    const error = t.throws(() => openEnvelope(envelope, { type, keys }), {
      instanceOf: BundleError,
    });
    return error.code;
  };
  t.is(code(bytes, [other.public]), 'signature');
  t.is(code(bytes, []), 'signature');
  t.is(code(bytes, TRUSTED, PAYLOAD_TYPE.trailer), 'format');
  const retyped = bytes.toString().replace('bundle.v1', 'part.v1');
  t.is(code(Buffer.from(retyped), TRUSTED, PAYLOAD_TYPE.trailer), 'signature');
  const document = JSON.parse(bytes.toString()) as { signatures: object[] };
  const write = (change: object): Buffer =>
    Buffer.from(`${JSON.stringify({ ...document, ...change })}\n`);
  t.deepEqual(write({}), bytes);
  const { signatures } = document;
  t.is(code(write({ signatures: [] })), 'format');
  t.is(code(write({ signatures: [...signatures, ...signatures] })), 'format');
  t.is(code(write({ more: 1 })), 'format');
  t.is(code(write({ payloadType: 1 })), 'format');
  t.is(code(write({ payload: 'e30=\n' })), 'format');
  t.is(code(write({ signatures: [{ ...signatures[0], sig: '' }] })), 'signature');
  t.is(code(write({ signatures: [{ ...signatures[0], keyid: 'a\u{1b}[31m' }] })), 'format');
  t.is(code(Buffer.from(` ${bytes.toString()}`)), 'format');
  for (const text of ['', 'null', '[]', '1', '{"signatures":[null]}']) {
    t.is(code(Buffer.from(text)), 'format', text);
  }
});

test('no envelope with a changed bit opens, and nothing but a refusal comes of it', (t) => {
  const bytes = KEYS.map((key) => sealEnvelope(PAYLOAD, TYPE, key));
  const place = fc.record({ of: fc.nat(1), at: fc.nat(bytes[0]!.length - 1), bit: fc.nat(7) });
  fc.assert(
    fc.property(place, ({ of, at, bit }) => {
      const changed = Buffer.from(bytes[of]!);
      changed[at]! ^= 1 << bit;
      // A change of the hint alone changes nothing.
      const isHint = at > changed.indexOf('"keyid":"') && at < changed.indexOf('","sig"');
      try {
        t.deepEqual(openEnvelope(changed, { type: TYPE, keys: TRUSTED }).payload, PAYLOAD);
        t.true(isHint);
      } catch (error) {
        if (!(error instanceof BundleError)) throw error;
      }
    }),
    { numRuns: 1000 },
  );
});
