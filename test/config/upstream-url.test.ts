import test, { type ExecutionContext } from 'ava';
import {
  formatUpstreamUrl,
  parseUpstreamUrl,
  type UpstreamUrl,
} from '../../src/config/upstream-url.ts';
import { load } from './config-folder.ts';

const means = test.macro({
  exec(t: ExecutionContext, text: string, expected: UpstreamUrl) {
    const parsed = parseUpstreamUrl(text);
    t.deepEqual(parsed, expected);
    t.deepEqual(parseUpstreamUrl(formatUpstreamUrl(parsed)), expected);
  },
  title: (_, text) => `the url ${text} is understood`,
});

test(means, 'https://reg.example', { url: 'https://reg.example' });
test(means, 'https://reg.example/', { url: 'https://reg.example' });
test(means, 'http://parent:5000/docker.io', { url: 'http://parent:5000/docker.io' });
test(means, 'https://reg.example/v2x', { url: 'https://reg.example/v2x' });
for (const prefix of [
  'docker.io',
  'dockerhub-proxy',
  'a/b',
  'reg.example_5000',
  'a/v2/b',
  'a__b.c-d',
]) {
  test(means, `https://parent.example:5000/v2/${prefix}`, {
    url: 'https://parent.example:5000',
    prefix,
  });
}
test(means, 'https://parent.example/v2/docker.io/', {
  url: 'https://parent.example',
  prefix: 'docker.io',
});
test(means, 'https://host.example/base/v2/project', {
  url: 'https://host.example/base',
  prefix: 'project',
});
test(means, 'https://parent.example:5000/?ns=docker.io', {
  url: 'https://parent.example:5000',
  namespace: 'docker.io',
});
test(means, 'https://parent.example?ns=reg.example:5000', {
  url: 'https://parent.example',
  namespace: 'reg.example:5000',
});
test(means, 'https://parent.example/base/?ns=docker.io', {
  url: 'https://parent.example/base',
  namespace: 'docker.io',
});

test('prefix and namespace of the url end up in the configuration', (t) => {
  const yaml = `
upstreams:
  docker.io: { url: "https://parent.example/v2/docker.io" }
  quay.io: { url: "https://parent.example/?ns=quay.io" }
`;
  const { upstreams } = load(t, { yaml }).config;
  const parts = Object.values(upstreams).map(({ url, prefix, namespace }) => ({
    url,
    prefix,
    namespace,
  }));
  t.deepEqual(parts, [
    { url: 'https://parent.example', prefix: 'docker.io', namespace: undefined },
    { url: 'https://parent.example', prefix: undefined, namespace: 'quay.io' },
  ]);
});
