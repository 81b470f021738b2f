import test from 'ava';
import { isOwnShortage } from '../../src/net/transport.ts';

const failed = (code: string): Error => Object.assign(new Error(code), { code });
/** As Node throws it when it has tried several addresses: its code is that of the first. */
const allFailed = (...codes: string[]): Error =>
  Object.assign(new AggregateError(codes.map(failed)), { code: codes[0] });

for (const [what, error, isOurs] of [
  ['no descriptor of the process', failed('EMFILE'), true],
  ['no descriptor of the machine', failed('ENFILE'), true],
  ['no memory for a socket', failed('ENOBUFS'), true],
  ['a refusal', failed('ECONNREFUSED'), false],
  ['no route', failed('ENETUNREACH'), false],
  ['no address of IPv6', failed('EADDRNOTAVAIL'), false],
  ['no descriptor for any address', allFailed('EMFILE', 'EMFILE'), true],
  ['no descriptor for the second address only', allFailed('ECONNREFUSED', 'EMFILE'), false],
  ['no descriptor for the first address only', allFailed('EMFILE', 'ENETUNREACH'), false],
  ['something without a code', new Error('broken'), false],
] as const) {
  test(`${what} is ${isOurs ? 'a shortage of this machine' : 'a word on the upstream'}`, (t) => {
    t.is(isOwnShortage(error), isOurs);
  });
}
