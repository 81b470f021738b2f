import { ASN1Obj } from '@sigstore/core';
import test from 'ava';
import { TIMESTAMP } from '../../../src/admission/notation/envelope.ts';
import {
  certificateOf,
  codeOf,
  envelopeOf,
  judge,
  LATER,
  MADE_AT,
  STORES,
  TOKENS,
  type Judging,
} from './signed-by-notation.ts';

interface Envelope {
  header: Record<string, unknown>;
}

type Stores = NonNullable<Judging['stores']>;

const RIGHT = tokenOf('right');
const DATA = ASN1Obj.parseBuffer(Buffer.from('06092a864886f70d010701', 'hex'));
const CODES: Readonly<Record<string, string>> = {
  right: 'admitted',
  late: 'validity',
  early: 'validity',
  clockExpired: 'validity',
  otherRoot: 'timestamp',
  otherCertificate: 'timestamp',
  otherSignature: 'timestamp',
  notAClock: 'certificate',
  looseUsage: 'certificate',
  twoUsages: 'certificate',
};
const CHANGED: readonly (readonly [string, Buffer, string, Judging?])[] = [
  ['as it was', RIGHT, 'admitted'],
  ['more behind it', Buffer.concat([RIGHT, Buffer.from([0])]), 'timestamp'],
  ['half of it', RIGHT.subarray(0, RIGHT.length / 2), 'timestamp'],
  ['no DER', Buffer.from('x'), 'timestamp'],
  ['an empty list', Buffer.from('3000', 'hex'), 'timestamp'],
  ['thirty-three KiB', Buffer.alloc(33 * 2 ** 10), 'too-large'],
  ['the answer around it', wrapped(RIGHT), 'timestamp'],
  ['another type', edited((_, token) => token.subs.splice(0, 1, DATA)), 'timestamp'],
  ['another type of content', edited((data) => data[2]!.subs.splice(0, 1, DATA)), 'timestamp'],
  ['two signers', edited((data) => data.at(-1)!.subs.push(data.at(-1)!.subs[0]!)), 'timestamp'],
  ['no signer', edited((data) => data.splice(-1, 1, emptied(data.at(-1)!))), 'timestamp'],
  ['no certificates', edited((data) => data.splice(3, 1)), 'timestamp'],
  [
    'the certificates of another clock',
    edited((data) => data.splice(3, 1, certificatesOf('otherRoot'))),
    'timestamp',
  ],
  [
    'what another clock said',
    edited((data) => data.splice(2, 1, partsOf(tokenOf('late'))[2]!)),
    'timestamp',
  ],
  [
    'the signer of another one',
    edited((data) => data.splice(4, 1, partsOf(tokenOf('late'))[4]!)),
    'timestamp',
  ],
  ['no root of clocks in the stores', RIGHT, 'timestamp', { stores: storesWith({ tsa: [] }) }],
  [
    'the root of clocks in another store',
    RIGHT,
    'timestamp',
    { stores: storesWith({ tsa: read('ca') }) },
  ],
];

for (const [name, code] of Object.entries(CODES)) {
  test(`a signature whose certificate has ended, with a timestamp: ${name} is ${code}`, (t) => {
    const judged = judge(stamped(tokenOf(name)), 'jws', { now: LATER });
    t.is(codeOf(judged), code, JSON.stringify(judged));
  });

  test(`while the certificate is valid, a timestamp that proves nothing takes nothing away: ${name}`, (t) => {
    const judged = judge(stamped(tokenOf(name)), 'jws', { now: MADE_AT });
    // A clock that is believed says that it was signed outside of the certificate's time.
    t.is(codeOf(judged), ['late', 'early'].includes(name) ? 'validity' : 'admitted');
    t.is('signer' in judged ? judged.at : undefined, name === 'right' ? MADE_AT + 1000 : undefined);
  });
}

for (const [name, token, code, judging] of CHANGED) {
  test(`a timestamp that was changed: ${name} is ${code}`, (t) => {
    const judged = judge(stamped(token), 'jws', { now: LATER, ...judging });
    t.is(codeOf(judged), code, JSON.stringify(judged));
  });
}

test('of a timestamp no bit that is signed may be another one, nor one of the signature', (t) => {
  const [, , content, , signers] = partsOf(RIGHT);
  const [, , , signed, , signature] = signers!.subs[0]!.subs;
  for (const { value } of [content!.subs[1]!.subs[0]!, signed!, signature!]) {
    const from = RIGHT.indexOf(value);
    for (let place = from; place < from + value.length; place += 1) {
      const copy = Buffer.from(RIGHT);
      copy[place] = copy[place]! ^ 1;
      t.not(codeOf(judge(stamped(copy), 'jws', { now: LATER })), 'admitted', String(place));
    }
  }
});

test('a timestamp with another bit anywhere is refused or says the same', (t) => {
  for (let place = 0; place < RIGHT.length; place += 7) {
    const copy = Buffer.from(RIGHT);
    copy[place] = copy[place]! ^ 1;
    const judged = judge(stamped(copy), 'jws', { now: LATER });
    if ('signer' in judged) t.is(judged.at, MADE_AT + 1000);
    else t.pass();
  }
});

function tokenOf(name: string): Buffer<ArrayBuffer> {
  return Buffer.from(TOKENS[name]!, 'base64');
}

function stamped(token: Buffer): Buffer {
  const envelope = JSON.parse(envelopeOf('expired', 'jws').toString()) as Envelope;
  envelope.header[TIMESTAMP] = token.toString('base64');
  return Buffer.from(JSON.stringify(envelope));
}

function partsOf(token: Buffer<ArrayBuffer>): ASN1Obj[] {
  return ASN1Obj.parseBuffer(token).subs[1]!.subs[0]!.subs;
}

function certificatesOf(name: string): ASN1Obj {
  return partsOf(tokenOf(name))[3]!;
}

/** With other parts of what is signed: version, hashes, content, certificates, signers. */
function edited(change: (parts: ASN1Obj[], token: ASN1Obj) => unknown): Buffer {
  const token = ASN1Obj.parseBuffer(RIGHT);
  change(token.subs[1]!.subs[0]!.subs, token);
  return token.toDER();
}

function emptied({ tag }: ASN1Obj): ASN1Obj {
  return new ASN1Obj(tag, Buffer.alloc(0), []);
}

function wrapped(token: Buffer): Buffer {
  const content = Buffer.concat([Buffer.from('3003020100', 'hex'), token]);
  const { length } = content;
  return Buffer.concat([Buffer.from([0x30, 0x82, length >> 8, length & 0xff]), content]);
}

function read(type: 'ca' | 'tsa') {
  return Object.values(STORES[type]).map(certificateOf);
}

function storesWith(other: Stores): Stores {
  return { ca: read('ca'), tsa: read('tsa'), ...other };
}
