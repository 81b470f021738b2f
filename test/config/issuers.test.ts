/** `access.oidc` and `access.kubernetes` as they are read. */
import { generateKeyPairSync } from 'node:crypto';
import test from 'ava';
import { describeConfig } from '../../src/config/describe-config.ts';
import { jwksOf, SigningKey } from '../access/fake-issuer.ts';
import { load, problemsOf } from './config-folder.ts';

const SVC = 'https://kubernetes.default.svc';

function entry(name: string, issuer: string, jwks: string): string {
  return `{ name: ${name}, issuer: ${issuer}, audience: entrepot, jwks: ${jwks} }`;
}

test('clusters share an issuer, and no kid of their files', (t) => {
  const [one, other, both] = [new SigningKey({ kid: 'k1' }), new SigningKey(), new SigningKey()];
  const files = {
    a: jwksOf(one, both),
    b: jwksOf(other),
    c: jwksOf(new SigningKey({ kid: 'k1' })),
  };
  const clusters = (...names: (keyof typeof files)[]): string => {
    const entries = names.map((name) => entry(name, SVC, `{ file: ${name} }`));
    return `access: { kubernetes: [${entries.join(', ')}] }`;
  };
  t.notThrows(() => load(t, { yaml: clusters('a', 'b'), files }));
  t.deepEqual(problemsOf(t, { yaml: clusters('a', 'b', 'c'), files }), [
    'access.kubernetes[2].jwks: the key "k1" is also one of a, so that its tokens could be of either cluster',
  ]);
  // Of issuers with other names the same kid is another key.
  const apart = `access: { kubernetes: [${entry('a', SVC, '{ file: a }')}, ${entry('c', `${SVC}.x`, '{ file: c }')}] }`;
  t.notThrows(() => load(t, { yaml: apart, files }));
});

test('a name is of one issuer of its kind, and an issuer is one provider', (t) => {
  const url = '{ url: https://id.example/jwks }';
  const oidc = [entry('a', 'i', url), entry('a', 'j', url), entry('b', 'i', url)];
  const kubernetes = [entry('a', 'k', url), entry('c', 'j', url)];
  const yaml = `access: { oidc: [${oidc.join(', ')}], kubernetes: [${kubernetes.join(', ')}] }`;
  t.deepEqual(problemsOf(t, { yaml }), [
    'access.oidc[1].name: write another name; there is one called a',
    'access.oidc[2].issuer: another issuer has it; only clusters may share one',
    'access.kubernetes[1].issuer: another issuer has it; only clusters may share one',
  ]);
});

test('a file of keys holds public ones that can verify', (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const short = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
  const jwks = (...keys: object[]): string => JSON.stringify({ keys });
  const jwk = publicKey.export({ format: 'jwk' });
  const wrong: Record<string, readonly [text: string, said: string]> = {
    private: [
      jwks({ ...privateKey.export({ format: 'jwk' }), kid: 'a' }),
      'DIR/private holds a secret key; only public ones belong there',
    ],
    shared: [
      jwks({ kty: 'oct', k: 'AAAA', kid: 'a', alg: 'HS256' }),
      'DIR/shared holds a secret key; only public ones belong there',
    ],
    unnamed: [jwks(jwk), 'has no public key with a kid that could verify a signature'],
    short: [jwks({ ...short.export({ format: 'jwk' }), kid: 'a' }), 'has no public key'],
    other: [jwks({ ...jwk, kid: 'a', use: 'enc' }), 'has no public key'],
    twice: [jwks({ ...jwk, kid: 'a' }, { ...jwk, kid: 'a' }), 'has no public key'],
    many: [jwks(...Array.from({ length: 101 }, () => jwk)), 'is no JWKS of at most 100 keys'],
    text: ['hunter2', 'DIR/text is no JWKS of at most 100 keys: { "keys": [...] }'],
    list: ['[]', 'is no JWKS'],
    nulls: ['{ "keys": [null] }', 'is no JWKS'],
  };
  for (const [name, [text, said]] of Object.entries(wrong)) {
    const yaml = `access: { oidc: [${entry('corp', 'i', `{ file: ${name} }`)}] }`;
    const [problem = '', ...others] = problemsOf(t, { yaml, files: { [name]: text } });
    t.deepEqual(others, []);
    t.true(problem.startsWith('access.oidc[0].jwks.file: ') && problem.includes(said), problem);
    t.false(problem.includes('hunter2'));
  }
});

test('what is told of issuers has no secret in it', (t) => {
  const jwks = '{ url: https://id.example/jwks, token: { env: TOKEN } }';
  const yaml = `access: { kubernetes: [${entry('prod', SVC, jwks)}] }`;
  const env = { TOKEN: 'hunter2', HTTPS_PROXY: 'http://bob:hunter3@proxy.example:3128' };
  const told = describeConfig(load(t, { yaml, env }).config);
  t.regex(
    JSON.stringify(told),
    /"jwks":\{"url":"https:\/\/id\.example\/jwks","token":"\(hidden\)"\}/,
  );
  t.notRegex(JSON.stringify(told.access), /hunter/);
});

test('a proxy that is none is told of the address that needs it', (t) => {
  const yaml = `access: { oidc: [${entry('corp', 'i', '{ url: https://id.example/jwks }')}] }`;
  const env = { HTTPS_PROXY: 'ftp://proxy.example', NO_PROXY: 'registry-1.docker.io' };
  const problems = problemsOf(t, { yaml: `${yaml}\nupstreams: { docker.io: ~ }`, env });
  t.true(
    problems.every((problem) => problem.startsWith('access.oidc[0].jwks.url: ')),
    problems[0],
  );
});
