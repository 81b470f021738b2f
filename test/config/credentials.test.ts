import test, { type ExecutionContext } from 'ava';
import type { CredentialsConfig } from '../../src/config/config.ts';
import { describeConfig } from '../../src/config/describe-config.ts';
import { load, problemsOf } from './config-folder.ts';

const KEY = JSON.stringify({
  type: 'service_account',
  client_email: 'mirror@project.example',
  private_key: '-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n',
});
const FILES = {
  secret: 'hunter2\n',
  other: 'hunter3\n',
  empty: '\n',
  spaced: 'hunter2 hunter3\n',
  'key.json': `${KEY}\n`,
  'half.json': '{"client_email":"hunter2"}',
  'config.json': '{"auths":{"reg.example":{"auth":"hunter2"}}}',
  'list.json': '["hunter2"]',
};
const ENV = { TOKEN: 'hunter2', BLANK: '' };

interface Place {
  readonly name?: string;
  readonly url?: string;
}

function input(credentials: string, { name = 'docker.io', url }: Place = {}) {
  const keys = [...(url === undefined ? [] : [`url: "${url}"`]), `credentials: ${credentials}`];
  const yaml = `defaultUpstream: ${name}\nupstreams: { "${name}": { ${keys.join(', ')} } }`;
  return { yaml, files: FILES, env: ENV };
}

const means = test.macro({
  exec(
    t: ExecutionContext,
    credentials: string,
    expected: readonly CredentialsConfig[],
    place?: Place,
  ) {
    const { config, file = '' } = load(t, input(credentials, place));
    const folder = file.replace(/\/[^/]*$/, '');
    const [{ credentials: found } = { credentials: [] }] = Object.values(config.upstreams);
    const text = JSON.stringify(found).replaceAll(`${folder}/`, 'DIR/');
    t.deepEqual(JSON.parse(text), expected);
    t.notRegex(JSON.stringify(describeConfig(config)), /hunter|PRIVATE/);
  },
  title: (_, credentials, __, { name = 'docker.io', url } = {}) =>
    `credentials of ${name}${url === undefined ? '' : ` at ${url}`}: ${credentials}`,
});

const PASSWORD = { provider: 'password', username: 'u', password: 'hunter2' } as const;
/** Its file is read again. */
const OF_FILE = { ...PASSWORD, file: 'DIR/secret' } as const;
test(means, '~', []);
test(means, '{ username: u, password: { file: secret } }', [OF_FILE]);
test(means, '{ username: u, password: { env: TOKEN } }', [PASSWORD]);
test(means, '[{ username: u, password: { env: TOKEN } }]', [PASSWORD]);
test(means, '{ identityToken: { file: secret } }', [
  { provider: 'identity-token', token: 'hunter2', file: 'DIR/secret' },
]);
test(means, '{ token: { env: TOKEN } }', [{ provider: 'bearer', token: 'hunter2' }]);
test(means, '{ provider: ibm, apiKey: { file: secret } }', [{ ...OF_FILE, username: 'iamapikey' }]);
test(
  means,
  '[{ username: u, password: { file: secret } }, { username: v, password: { file: other } }, { provider: ecr-public }]',
  [
    OF_FILE,
    { provider: 'password', username: 'v', password: 'hunter3', file: 'DIR/other' },
    { provider: 'ecr-public' },
  ],
);

// Names are taken as they stand.
for (const name of ['$oauthtoken', '${TOKEN}', '<token>', '_json_key', 'org+robot', '%TOKEN%']) {
  test(means, `{ username: "${name}", password: { file: secret } }`, [
    { ...OF_FILE, username: name },
  ]);
}

test(means, '{ provider: ecr-public, profile: p }', [{ provider: 'ecr-public', profile: 'p' }]);
test(means, '{ provider: gcp }', [{ provider: 'gcp' }]);
test(means, '{ provider: gcp, key: { file: key.json } }', [
  { provider: 'gcp', key: KEY, file: 'DIR/key.json' },
]);
test(means, '{ provider: acr }', [{ provider: 'acr' }]);
test(means, '{ provider: acr, client: c }', [{ provider: 'acr', client: 'c' }]);
test(means, '{ provider: acr, tenant: t, client: c, secret: { env: TOKEN } }', [
  { provider: 'acr', tenant: 't', client: 'c', secret: 'hunter2' },
]);

// The region

const ACCOUNT = '123456789012';
const REGIONS = {
  [`${ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com`]: 'eu-central-1',
  [`${ACCOUNT}.dkr.ecr-fips.us-gov-west-1.amazonaws.com`]: 'us-gov-west-1',
  [`${ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn`]: 'cn-north-1',
  [`${ACCOUNT}.dkr.ecr.eusc-de-east-1.amazonaws.eu`]: 'eusc-de-east-1',
  [`${ACCOUNT}.dkr-ecr.us-west-2.on.aws`]: 'us-west-2',
  [`${ACCOUNT}.dkr-ecr-fips.us-west-2.on.aws`]: 'us-west-2',
};
for (const [name, region] of Object.entries(REGIONS)) {
  test(means, '{ provider: ecr }', [{ provider: 'ecr', region }], { name });
}
test(means, '{ provider: ecr }', [{ provider: 'ecr', region: 'eu-west-1' }], {
  name: 'images.example',
  url: `https://${ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com`,
});
test(
  means,
  '{ provider: ecr, region: us-east-1, profile: p }',
  [{ provider: 'ecr', region: 'us-east-1', profile: 'p' }],
  { name: `${ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com` },
);

// The server

const HUB = 'https://index.docker.io/v1/';
test(means, '{ provider: helper, name: pass }', [
  { provider: 'helper', name: 'pass', server: HUB },
]);
test(
  means,
  '{ provider: helper, name: a-1 }',
  [{ provider: 'helper', name: 'a-1', server: 'reg.example:5000' }],
  { name: 'reg.example:5000' },
);
test(
  means,
  '{ provider: helper, name: pass }',
  [{ provider: 'helper', name: 'pass', server: 'parent.example:5000' }],
  { url: 'https://parent.example:5000/v2/docker.io' },
);
test(means, '{ provider: helper, name: pass, server: "https://reg.example" }', [
  { provider: 'helper', name: 'pass', server: 'https://reg.example' },
]);
test(means, '{ provider: docker-config, file: config.json }', [
  { provider: 'docker-config', file: 'DIR/config.json', server: HUB },
]);
test(
  means,
  '{ provider: docker-config, file: ./config.json, server: a.example }',
  [{ provider: 'docker-config', file: 'DIR/config.json', server: 'a.example' }],
  { name: 'reg.example' },
);

// What is refused

const refuses = test.macro({
  exec: (t: ExecutionContext, credentials: string, says: readonly string[], place?: Place) => {
    const { name = 'docker.io' } = place ?? {};
    const problems = problemsOf(t, input(credentials, place));
    const path = `upstreams.${name}.credentials`;
    t.deepEqual(
      problems,
      says.map((text) => path + text),
    );
    t.notRegex(problems.join('\n'), /hunter/);
  },
  title: (_, credentials, __, { name = 'docker.io' } = {}) =>
    `refused as credentials of ${name}: ${credentials}`,
});

const FORMS =
  ': write { username: NAME, password: { file: PATH } }, { identityToken: { file: PATH } }, { token: { file: PATH } } or { provider: NAME }';
const IN_FILE = ': a secret does not stand in this file; write { file: PATH } or { env: VARIABLE }';
const MISSING = ': missing; write { file: PATH } or { env: VARIABLE }';
const ONE_OF_TWO = ': write { file: PATH } or { env: VARIABLE }, one of the two';
const MIXED =
  ': write username and password, or identityToken, or token, not several of them; a second account is a second entry of a list';
const PROVIDERS =
  '.provider: write one of ecr, ecr-public, gcp, acr, ibm, helper, docker-config; a username and a password need no provider';

test(refuses, '"u:hunter2"', [FORMS]);
test(refuses, '["u:hunter2"]', [`[0]${FORMS}`]);
test(refuses, '{}', [FORMS]);
test(refuses, '[{}]', [`[0]${FORMS}`]);
test(refuses, '[]', [': an empty list names no account; leave the key out to pull without one']);
test(refuses, '{ user: u, passwort: hunter2 }', [
  '.user: unknown key; write username: NAME',
  '.passwort: unknown key; write password',
  FORMS,
]);
test(refuses, '{ username: 7, password: hunter2 }', [
  '.username: write text; put quotes around it',
  `.password${IN_FILE}`,
]);
test(refuses, '{ username: 7 }', [
  '.username: write text; put quotes around it',
  `.password${MISSING}`,
]);
test(refuses, '{ username: u, password: 123456 }', [`.password${IN_FILE}`]);
test(refuses, '{ username: "" }', [
  '.username: write the name of the account',
  `.password${MISSING}`,
]);
test(refuses, '{ password: { file: secret } }', [
  '.username: missing; write the name of the account',
]);
test(refuses, '{ identityToken: hunter2 }', [`.identityToken${IN_FILE}`]);
test(refuses, '{ token: hunter2 }', [`.token${IN_FILE}`]);
test(refuses, '{ token: { file: spaced } }', [
  '.token: a bearer token has no spaces and no line ends; keep nothing beside it',
]);
test(refuses, '{ username: u, password: { file: secret }, token: { file: secret } }', [MIXED]);
test(refuses, '{ identityToken: { file: secret }, token: { file: secret } }', [MIXED]);
test(refuses, '{ username: u, identityToken: { file: secret } }', [MIXED]);
test(refuses, '[{ username: u, password: { file: secret } }, { username: v }]', [
  `[1].password${MISSING}`,
]);

test(refuses, '{ username: u, password: { file: gone } }', [
  '.password: cannot read DIR/gone: there is no such file',
]);
test(refuses, '{ username: u, password: { file: . } }', [
  '.password: cannot read DIR: it is a folder',
]);
test(refuses, '{ username: u, password: { file: empty } }', [
  '.password: DIR/empty is empty; the secret belongs there',
]);
test(refuses, '{ username: u, password: { env: GONE } }', [
  '.password: the environment variable GONE is not set',
]);
test(refuses, '{ username: u, password: { env: BLANK } }', [
  '.password: the environment variable BLANK is empty',
]);
test(refuses, '{ username: u, password: {} }', [`.password${ONE_OF_TWO}`]);
test(refuses, '{ username: u, password: { file: empty, env: BLANK } }', [`.password${ONE_OF_TWO}`]);
test(refuses, '{ username: u, password: { vault: x } }', [
  '.password.vault: unknown key; known here: file, env',
  `.password${ONE_OF_TWO}`,
]);

test(refuses, '{ provider: vault }', [PROVIDERS]);
test(refuses, '{ provider: ~ }', [PROVIDERS]);
test(refuses, '[{ provider: ecr-public }, { provider: password }]', [`[1]${PROVIDERS}`]);
test(refuses, '{ provider: gcp, username: u, password: hunter2 }', [
  '.username: unknown key; known here: provider, key',
  '.password: unknown key; known here: provider, key',
]);

const REGION = 'missing; the host does not tell it, write region: REGION';
test(refuses, '{ provider: ecr }', [`.region: ${REGION}`]);
test(refuses, '[{ provider: ecr, region: eu-west-1 }, { provider: ecr }]', [
  `[1].region: ${REGION}`,
]);
for (const name of [
  `${ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com.evil.example`,
  'dkr.ecr.eu-west-1.amazonaws.com',
]) {
  test(refuses, '{ provider: ecr, profile: p }', [`.region: ${REGION}`], { name });
}
test(refuses, '{ provider: ecr, region: "", profile: "" }', [
  '.region: write a region such as "eu-central-1"',
  ".profile: write the name of a profile of AWS's own configuration files",
]);
test(refuses, '{ provider: ecr-public, region: us-east-1 }', [
  '.region: unknown key; known here: provider, profile',
]);

const SERVICE_ACCOUNT =
  '.key: this is not the JSON key of a service account, which has client_email and private_key; leave key out for the default credentials';
test(refuses, '{ provider: gcp, key: key.json }', [`.key${IN_FILE}`]);
test(refuses, '{ provider: gcp, key: { file: gone.json } }', [
  '.key: cannot read DIR/gone.json: there is no such file',
]);
for (const file of ['secret', 'half.json', 'list.json']) {
  test(refuses, `{ provider: gcp, key: { file: ${file} } }`, [SERVICE_ACCOUNT]);
}

const missingId = (key: string) =>
  `.${key}: missing; a secret belongs to a tenant and a client, write the ID of the ${key}`;
test(refuses, '{ provider: acr, secret: { file: secret } }', [
  missingId('tenant'),
  missingId('client'),
]);
test(refuses, '{ provider: acr, tenant: t, secret: { file: secret } }', [missingId('client')]);
test(refuses, '{ provider: acr, tenant: "", client: c, secret: hunter2 }', [
  '.tenant: write the ID of the tenant',
  `.secret${IN_FILE}`,
]);

test(refuses, '{ provider: ibm }', [`.apiKey${MISSING}`]);
test(refuses, '{ provider: ibm, apiKey: hunter2 }', [`.apiKey${IN_FILE}`]);

const HELPER =
  '.name: write what follows docker-credential- in the name of the program, such as "pass"';
for (const name of ['../pass', 'Pass', 'a b', '$HOME', '']) {
  test(refuses, `{ provider: helper, name: "${name}" }`, [HELPER]);
}
test(refuses, '{ provider: helper }', ['.name: missing; write text']);
test(refuses, '{ provider: helper, name: pass, server: "https://u:hunter2@reg.example" }', [
  '.server: write the registry as it was logged in to, such as reg.example:5000',
]);

test(refuses, '{ provider: docker-config }', ['.file: missing; write text']);
test(refuses, '{ provider: docker-config, file: gone.json }', [
  '.file: cannot read DIR/gone.json: there is no such file',
]);
for (const file of ['secret', 'empty', 'list.json']) {
  test(refuses, `{ provider: docker-config, file: ${file} }`, [
    `.file: DIR/${file} is not JSON as docker login or podman login writes it`,
  ]);
}
