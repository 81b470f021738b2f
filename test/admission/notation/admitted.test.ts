import test from 'ava';
import {
  codeOf,
  envelopeOf,
  FORMS,
  judge,
  LATER,
  MADE_AT,
  type Form,
} from './signed-by-notation.ts';

const FORM_NAMES = Object.keys(FORMS) as Form[];
const KEYS = ['rsa2048', 'rsa3072', 'rsa4096', 'p256', 'p384', 'p521'];

for (const form of FORM_NAMES) {
  for (const name of [...KEYS, 'plain', 'annotated']) {
    test(`what Notation signed counts: ${name}, ${form}`, (t) => {
      const signer = name === 'annotated' ? 'plain' : name;
      const identity = `x509.subject: C=US, ST=WA, O=Notary\\, Inc., CN=${signer}`;
      t.like(judge(envelopeOf(name, form), form, { identities: [identity] }), {
        signer: { kind: 'notation', identity, level: 'strict' },
        at: undefined,
        doubt: undefined,
      });
    });
  }

  test(`a certificate that signs itself counts where it stands in a store: ${form}`, (t) => {
    t.is(codeOf(judge(envelopeOf('alone', form), form)), 'admitted');
    t.is(codeOf(judge(envelopeOf('alone', form), form, { stores: {} })), 'store');
  });

  for (const name of ['stamped', 'stampedByEC']) {
    test(`with a timestamp a signature outlives its certificate: ${name}, ${form}`, (t) => {
      const judged = judge(envelopeOf(name, form), form, { now: LATER });
      // The clock is right to a second.
      t.like(judged, { at: MADE_AT + 1000, until: undefined });
      t.is(codeOf(judge(envelopeOf('expired', form), form, { now: LATER })), 'validity');
    });
  }

  test(`without a timestamp it counts until the certificate ends: ${form}`, (t) => {
    const judged = judge(envelopeOf('expired', form), form, { now: MADE_AT });
    t.true('until' in judged);
    const { until = 0 } = judged as { until?: number };
    t.is(codeOf(judge(envelopeOf('expired', form), form, { now: until - 1 })), 'admitted');
    t.is(codeOf(judge(envelopeOf('expired', form), form, { now: until })), 'validity');
  });

  test(`it counts until it ends by its own word: ${form}`, (t) => {
    const { until = 0 } = judge(envelopeOf('ending', form), form) as { until?: number };
    t.is(codeOf(judge(envelopeOf('ending', form), form, { now: until - 1 })), 'admitted');
    t.is(codeOf(judge(envelopeOf('ending', form), form, { now: until })), 'expired');
  });

  test(`a signing authority is believed its time, and needs a store of its own type: ${form}`, (t) => {
    const envelope = envelopeOf('authority', form);
    t.like(judge(envelope, form, { now: LATER }), { at: MADE_AT, until: undefined });
    t.is(codeOf(judge(envelope, form, { now: LATER, stores: {} })), 'store');
  });
}
