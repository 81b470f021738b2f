import { hostname } from 'node:os';
import test, { type ExecutionContext } from 'ava';
import { ConfigError } from '../../src/config/problems.ts';
import { formatListenAddress, parseListenAddress, urlOf } from '../../src/config/listen.ts';

const reads = test.macro({
  exec: (t: ExecutionContext, text: string, host: string, port: number) =>
    t.deepEqual(parseListenAddress(text), { host, port }),
  title: (_, text, host, port) => `${text} listens on ${host}, port ${port}`,
});

test(reads, '0.0.0.0:5000', '0.0.0.0', 5000);
test(reads, '127.0.0.1:0', '127.0.0.1', 0);
test(reads, '[::]:5000', '::', 5000);
test(reads, '[::1]:65535', '::1', 65_535);
test(reads, ':5000', '0.0.0.0', 5000);
test(reads, 'localhost:5000', 'localhost', 5000);
test(reads, 'mirror.example:443', 'mirror.example', 443);

const wrong = ['', '5000', 'localhost', '0.0.0.0', '0.0.0.0:65536', '0.0.0.0:http', '::1:5000'];
const alsoWrong = [
  '[1.2.3.4]:5000',
  '300.1.1.1:5000',
  'http://x:5000',
  '-x:5000',
  '[::1]',
  '*:5000',
];
for (const text of [...wrong, ...alsoWrong]) {
  test(`the address "${text}" is refused`, (t) => {
    const error = t.throws(() => parseListenAddress(text), { instanceOf: ConfigError });
    t.deepEqual(error.problems, [
      `write an address and a port such as "0.0.0.0:5000" or "[::]:5000", not "${text}"`,
    ]);
  });
}

test('a formatted address reads as the same address', (t) => {
  for (const text of ['0.0.0.0:5000', '[::]:5000']) {
    t.is(formatListenAddress(parseListenAddress(text)), text);
  }
});

test('others reach it at its own address, and at the name of the machine where it has all of them', (t) => {
  const tls = { cert: 'tls.crt', key: 'tls.key' };
  t.is(urlOf({ host: '127.0.0.1', port: 5000 }), 'http://127.0.0.1:5000');
  t.is(urlOf({ host: '::1', port: 5000, tls }), 'https://[::1]:5000');
  t.is(urlOf({ host: '0.0.0.0', port: 5000 }), `http://${hostname()}:5000`);
  t.is(urlOf({ host: '::', port: 443, tls }), `https://${hostname()}:443`);
});
