import test, { type ExecutionContext } from 'ava';
import { ConfigError } from '../../src/config/problems.ts';
import { findProxy } from '../../src/config/proxy.ts';

const PROXY = 'http://proxy.example:3128';

test('HTTPS_PROXY is for https upstreams, HTTP_PROXY for http ones', (t) => {
  const env = { HTTPS_PROXY: 'http://one.example:1', HTTP_PROXY: 'http://two.example:2' };
  t.is(findProxy('https://ghcr.io', env), 'http://one.example:1');
  t.is(findProxy('http://ghcr.io', env), 'http://two.example:2');
  t.is(findProxy('http://ghcr.io', { HTTPS_PROXY: PROXY }), undefined);
  t.is(findProxy('https://ghcr.io', {}), undefined);
});

test('ALL_PROXY is for what has no proxy of its own', (t) => {
  t.is(
    findProxy('http://ghcr.io', { ALL_PROXY: PROXY, HTTPS_PROXY: 'http://one.example:1' }),
    PROXY,
  );
  t.is(findProxy('https://ghcr.io', { all_proxy: PROXY }), PROXY);
  t.is(findProxy('https://ghcr.io', { ALL_PROXY: PROXY, NO_PROXY: '.io' }), undefined);
});

test('the lower-case variable goes first, and an empty one does not count', (t) => {
  t.is(findProxy('https://ghcr.io', { https_proxy: PROXY, HTTPS_PROXY: 'http://x' }), PROXY);
  t.is(findProxy('https://ghcr.io', { https_proxy: '', HTTPS_PROXY: PROXY }), PROXY);
  t.is(findProxy('https://ghcr.io', { HTTPS_PROXY: '' }), undefined);
  t.is(findProxy('https://ghcr.io', { HTTPS_PROXY: PROXY, no_proxy: 'ghcr.io' }), undefined);
});

test('a proxy of the environment keeps its password and needs no scheme', (t) => {
  const env = { HTTPS_PROXY: 'user:pass@proxy.example:3128' };
  t.is(findProxy('https://ghcr.io', env), 'http://user:pass@proxy.example:3128');
});

for (const value of ['socks5://proxy:1080', 'http://', 'http://proxy/path', 'http://proxy:99999']) {
  test(`HTTPS_PROXY=${value} is refused`, (t) => {
    const find = () => findProxy('https://ghcr.io', { HTTPS_PROXY: value });
    t.deepEqual(t.throws(find, { instanceOf: ConfigError }).problems, [
      'the environment variable HTTPS_PROXY is not the URL of an http proxy',
    ]);
  });
}

for (const host of ['localhost', 'registry.localhost', '127.0.0.1', '127.8.8.8', '[::1]']) {
  test(`${host} is never reached through a proxy of the environment`, (t) => {
    t.is(findProxy(`https://${host}:5000`, { HTTPS_PROXY: PROXY }), undefined);
  });
}

const exempt = test.macro({
  exec: (t: ExecutionContext, list: string, url: string) =>
    t.is(findProxy(url, { HTTPS_PROXY: PROXY, NO_PROXY: list }), undefined),
  title: (_, list, url) => `NO_PROXY=${list} exempts ${url}`,
});
test(exempt, '*', 'https://ghcr.io');
test(exempt, 'ghcr.io', 'https://ghcr.io');
test(exempt, 'GHCR.io', 'https://ghcr.io');
test(exempt, 'quay.io, ghcr.io', 'https://ghcr.io');
test(exempt, 'quay.io ghcr.io', 'https://ghcr.io');
test(exempt, 'example.com', 'https://reg.example.com');
test(exempt, '.example.com', 'https://reg.example.com');
test(exempt, '*.example.com', 'https://reg.example.com');
test(exempt, 'ghcr.io:443', 'https://ghcr.io');
test(exempt, 'reg.example:5000', 'https://reg.example:5000');
test(exempt, '10.0.0.5', 'https://10.0.0.5:5000');
test(exempt, '10.0.0.0/8', 'https://10.20.30.40');
test(exempt, 'fd00::/8', 'https://[fd00::1]:5000');
test(exempt, 'fd00::1', 'https://[fd00::1]');
test(exempt, '[fd00::1]:5000', 'https://[fd00::1]:5000');
test(exempt, '10.0.0.5:5000', 'https://10.0.0.5:5000');
test(exempt, 'example.com.', 'https://reg.example.com');
test(exempt, 'example.com', 'https://reg.example.com.');

const proxied = test.macro({
  exec: (t: ExecutionContext, list: string, url: string) =>
    t.is(findProxy(url, { HTTPS_PROXY: PROXY, NO_PROXY: list }), PROXY),
  title: (_, list, url) => `NO_PROXY=${list} does not exempt ${url}`,
});
test(proxied, '', 'https://ghcr.io');
test(proxied, ',', 'https://ghcr.io');
test(proxied, 'hcr.io', 'https://ghcr.io');
test(proxied, 'ghcr.io.example', 'https://ghcr.io');
test(proxied, 'ghcr.io:444', 'https://ghcr.io');
test(proxied, '11.0.0.0/8', 'https://10.20.30.40');
test(proxied, '10.0.0.0/99', 'https://10.20.30.40');
test(proxied, '0.0.5', 'https://10.0.0.5');
test(proxied, '.30.40', 'https://10.20.30.40');
test(proxied, '10.0.0.0/8', 'https://ten.example');
test(proxied, 'fd00::/8', 'https://[fe80::1]');
