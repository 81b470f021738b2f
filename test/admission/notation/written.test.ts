import test from 'ava';
import { decode, encode, Tagged } from 'cborg';
import { issue, PREFIX, rootOf, seal, sealCose, sealJws } from './forger.ts';
import { codeOf, judge, MADE_AT, type Form } from './signed-by-notation.ts';

type Json = Record<string, unknown>;
type Message = [head: Uint8Array, header: Map<unknown, unknown>, ...rest: unknown[]];

const root = await issue({ subject: 'CN=Root', isCa: true });
const signer = await issue({ issuer: root });
const PAYLOAD = 2;
const SIGNATURE = 3;
const JUDGING = {
  stores: { ca: [rootOf(root)] },
  identities: ['x509.subject: C=US, ST=WA, O=Forgery'],
};
const JWS = sealJws(signer, {});
const COSE = sealCose(signer, {});

function judgeAs(form: Form, envelope: Uint8Array): string {
  return codeOf(judge(envelope, form, JUDGING));
}

function editJws(change: (json: Json) => void): Buffer {
  const json = JSON.parse(JWS.toString()) as Json;
  change(json);
  return Buffer.from(JSON.stringify(json));
}

/** Of the parts of the message; what is handed back stands in place of them. */
function editCose(change: (parts: Message) => unknown, tag = 18): Buffer {
  const options = { useMaps: true, tags: Tagged.preserve(18) };
  const { value } = decode(COSE, options) as { value: Message };
  return Buffer.from(encode(new Tagged(tag, change(value) ?? value)));
}

const text = (json: Buffer): string => json.toString();

const IN_JSON: readonly (readonly [string, Buffer, string])[] = [
  ['as it was', JWS, 'admitted'],
  ['nothing', Buffer.alloc(0), 'malformed'],
  ['no JSON', Buffer.from('x'), 'malformed'],
  ['a list', Buffer.from('[]'), 'malformed'],
  ['null', Buffer.from('null'), 'malformed'],
  ['no UTF-8', Buffer.concat([JWS, Buffer.from([0xff])]), 'malformed'],
  ['more behind it', Buffer.concat([JWS, Buffer.from('x')]), 'malformed'],
  ['another one behind it', Buffer.concat([JWS, JWS]), 'malformed'],
  ['white space behind it', Buffer.concat([JWS, Buffer.from(' \n')]), 'admitted'],
  ['a mebibyte of white space', Buffer.concat([JWS, Buffer.alloc(2 ** 20, ' ')]), 'too-large'],
  [
    'a field twice',
    Buffer.from(text(JWS).replace('{"payload"', '{"payload":"e30","payload"')),
    'malformed',
  ],
  [
    'a field twice in the header',
    Buffer.from(text(JWS).replace('"x5c"', '"x5c":[],"x5c"')),
    'malformed',
  ],
  [
    'nesting of 70 levels',
    Buffer.from(text(JWS).replace('"x5c"', `"a":${'['.repeat(70)}${']'.repeat(70)},"x5c"`)),
    'malformed',
  ],
  ['another spelling of a field', editJws((json) => (json['Payload'] = 'e30')), 'malformed'],
  ['several signatures', editJws((json) => (json['signatures'] = [])), 'malformed'],
  ['a compact one', Buffer.from(JSON.stringify('a.b.c')), 'malformed'],
  ['no payload', editJws((json) => delete json['payload']), 'malformed'],
  ['an empty payload', editJws((json) => (json['payload'] = '')), 'malformed'],
  [
    'a payload with padding',
    editJws((json) => (json['payload'] = `${String(json['payload'])}=`)),
    'malformed',
  ],
  [
    'a payload in plain base64',
    editJws((json) => (json['payload'] = `${String(json['payload'])}+/`)),
    'malformed',
  ],
  ['a payload that is a number', editJws((json) => (json['payload'] = 1)), 'malformed'],
  ['no protected header', editJws((json) => delete json['protected']), 'malformed'],
  [
    'a protected header that is an object',
    editJws((json) => (json['protected'] = {})),
    'malformed',
  ],
  [
    'a protected header that is a list',
    editJws((json) => (json['protected'] = encode64('[]'))),
    'malformed',
  ],
  [
    'a protected header with a name twice',
    editJws((json) => (json['protected'] = encode64('{"a":1,"a":1}'))),
    'malformed',
  ],
  ['no header', editJws((json) => delete json['header']), 'malformed'],
  ['no certificates', editJws((json) => (json['header'] = {})), 'chain'],
  ['a certificate in place of a list', editJws((json) => (json['header'] = { x5c: 'a' })), 'chain'],
  [
    'certificates that are no texts',
    editJws((json) => (json['header'] = { x5c: [1] })),
    'malformed',
  ],
  [
    'a certificate in base64url',
    editJws((json) => (json['header'] = { x5c: ['_-'] })),
    'malformed',
  ],
  [
    'an algorithm that nobody signed',
    editJws((json) => Object.assign(json['header'] as Json, { alg: 'none' })),
    'admitted',
  ],
  [
    'critical what nobody signed',
    editJws((json) => Object.assign(json['header'] as Json, { crit: ['a'] })),
    'admitted',
  ],
  ['no signature', editJws((json) => delete json['signature']), 'malformed'],
  ['an empty signature', editJws((json) => (json['signature'] = '')), 'malformed'],
  ['half a signature', editJws((json) => (json['signature'] = encode64('half'))), 'signature'],
  [
    'a timestamp that is no text',
    editJws((json) =>
      Object.assign(json['header'] as Json, { [`${PREFIX}timestampSignature`]: 1 }),
    ),
    'malformed',
  ],
  ['a COSE envelope', COSE, 'malformed'],
];

const IN_CBOR: readonly (readonly [string, Buffer, string])[] = [
  ['as it was', COSE, 'admitted'],
  ['nothing', Buffer.alloc(0), 'malformed'],
  ['a JWS envelope', JWS, 'malformed'],
  ['more behind it', Buffer.concat([COSE, Buffer.from([0])]), 'malformed'],
  ['another one behind it', Buffer.concat([COSE, COSE]), 'malformed'],
  ['half of it', COSE.subarray(0, COSE.length / 2), 'malformed'],
  ['a mebibyte behind it', Buffer.concat([COSE, Buffer.alloc(2 ** 20)]), 'too-large'],
  ['no tag', COSE.subarray(1), 'malformed'],
  ['another tag', editCose(() => undefined, 17), 'malformed'],
  ['a tag within a tag', editCose((parts) => new Tagged(18, parts)), 'malformed'],
  ['three parts', editCose((parts) => parts.slice(0, 3)), 'malformed'],
  ['five parts', editCose((parts) => [...parts, 1]), 'malformed'],
  ['a map in place of parts', editCose(() => new Map()), 'malformed'],
  [
    'parts of no known length',
    Buffer.concat([
      COSE.subarray(0, 1),
      Buffer.from([0x9f]),
      COSE.subarray(2),
      Buffer.from([0xff]),
    ]),
    'malformed',
  ],
  [
    'a length longer than needed',
    Buffer.concat([COSE.subarray(0, 1), Buffer.from([0x98, 4]), COSE.subarray(2)]),
    'malformed',
  ],
  ['a payload elsewhere', editCose((parts) => void (parts[PAYLOAD] = null)), 'malformed'],
  ['a payload that is a text', editCose((parts) => void (parts[PAYLOAD] = '{}')), 'malformed'],
  [
    'a protected header that is a map',
    editCose((parts) => [new Map(), ...parts.slice(1)]),
    'malformed',
  ],
  [
    'an empty protected header',
    editCose((parts) => void (parts[0] = new Uint8Array())),
    'malformed',
  ],
  [
    'a protected header that is a list',
    editCose((parts) => void (parts[0] = encode([]))),
    'malformed',
  ],
  [
    'a protected header with a key twice',
    editCose((parts) => void (parts[0] = Buffer.from('a201260126', 'hex'))),
    'malformed',
  ],
  [
    'a protected header with more behind it',
    editCose((parts) => void (parts[0] = Buffer.concat([parts[0], Buffer.from([0])]))),
    'malformed',
  ],
  ['no header', editCose((parts) => [parts[0], null, ...parts.slice(2)]), 'chain'],
  ['no certificates', editCose((parts) => parts[1].clear()), 'chain'],
  [
    'a certificate in place of a list',
    editCose((parts) => void parts[1].set(33, signer.chain[0])),
    'chain',
  ],
  ['certificates that are texts', editCose((parts) => void parts[1].set(33, ['a'])), 'malformed'],
  [
    'two thousand items',
    editCose((parts) => void parts[1].set('a', Array(2000).fill(0))),
    'malformed',
  ],
  ['two thousand levels', editCose((parts) => void parts[1].set('a', nested(2000))), 'malformed'],
  ['an algorithm that nobody signed', editCose((parts) => void parts[1].set(1, 0)), 'admitted'],
  ['an algorithm that is a text', sealCose(signer, { algorithm: 'ES256' }), 'algorithm'],
  [
    'an empty signature',
    editCose((parts) => void (parts[SIGNATURE] = new Uint8Array())),
    'malformed',
  ],
  [
    'half a signature',
    editCose((parts) => void (parts[SIGNATURE] = Buffer.from('half'))),
    'signature',
  ],
  [
    'a timestamp that is a text',
    editCose((parts) => void parts[1].set(`${PREFIX}timestampSignature`, 'a')),
    'malformed',
  ],
  [
    'a time that is a text',
    sealCose(signer, { attributes: { signingTime: new Tagged(0, '2026-01-01T00:00:00Z') } }),
    'malformed',
  ],
  [
    'a time that is too large',
    sealCose(signer, { attributes: { signingTime: new Tagged(1, 2 ** 52) } }),
    'malformed',
  ],
  [
    'a time that is a map',
    sealCose(signer, { attributes: { signingTime: new Tagged(1, new Map()) } }),
    'malformed',
  ],
  [
    'a time with parts of a second',
    sealCose(signer, { attributes: { signingTime: new Tagged(1, MADE_AT / 1000 + 0.5) } }),
    'admitted',
  ],
  ['a mebibyte of nesting', Buffer.alloc(2 ** 20, 0x81), 'malformed'],
  ['a text of no known length', Buffer.from('d2847fff', 'hex'), 'malformed'],
  [
    'bytes that are said to be more than there are',
    Buffer.from('d2845bffffffffffffffff', 'hex'),
    'malformed',
  ],
];

for (const [name, envelope, code] of IN_JSON) {
  test(`JWS: ${name} is ${code}`, (t) => t.is(judgeAs('jws', envelope), code));
}

for (const [name, envelope, code] of IN_CBOR) {
  test(`COSE: ${name} is ${code}`, (t) => t.is(judgeAs('cose', envelope), code));
}

test('what is cut off anywhere is refused', (t) => {
  for (const form of ['jws', 'cose'] as const) {
    const envelope = seal(form, signer);
    for (let length = 0; length < envelope.length; length += 3) {
      t.not(judgeAs(form, envelope.subarray(0, length)), 'admitted');
    }
  }
});

function encode64(value: string): string {
  return Buffer.from(value).toString('base64url');
}

function nested(depth: number): unknown[] {
  let value: unknown[] = [];
  for (let level = 0; level < depth; level += 1) value = [value];
  return value;
}
