/** What deploy/kubelet gives a kubelet, and what its program answers to requests of all kinds. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import test from 'ava';
import { parse, parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { jwksOf, serviceAccount, SigningKey } from '../access/fake-issuer.ts';
import { SECRET, startPrivateMirror, writeJwks } from '../access/private-mirror.ts';
import { createTempFolder } from '../helpers/mirror.ts';

const FOLDER = join(import.meta.dirname, '..', '..', 'deploy', 'kubelet');
const PROGRAM = join(FOLDER, 'entrepot-credentials');
const API = 'credentialprovider.kubelet.k8s.io/v1';
const TOKEN = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln-_';
/** In the order in which a kubelet writes them. */
const REQUEST = {
  kind: 'CredentialProviderRequest',
  apiVersion: API,
  image: 'ghcr.io/org/app',
  serviceAccountToken: TOKEN,
};

/** The keys of `kubelet.config.k8s.io/v1` as its types have them: a kubelet refuses others. */
const CONFIG = z.strictObject({
  apiVersion: z.literal('kubelet.config.k8s.io/v1'),
  kind: z.literal('CredentialProviderConfig'),
  providers: z.tuple([
    z.strictObject({
      name: z.string(),
      matchImages: z.array(z.string()).min(1),
      defaultCacheDuration: z.string().regex(/^\d+[smh]$/),
      apiVersion: z.literal(API),
      args: z.array(z.string()).optional(),
      env: z.array(z.strictObject({ name: z.string(), value: z.string() })).optional(),
      tokenAttributes: z.strictObject({
        serviceAccountTokenAudience: z.string(),
        cacheType: z.enum(['Token', 'ServiceAccount']),
        requireServiceAccount: z.boolean(),
        requiredServiceAccountAnnotationKeys: z.array(z.string()).optional(),
        optionalServiceAccountAnnotationKeys: z.array(z.string()).optional(),
      }),
    }),
  ]),
});

/** As a kubelet runs it, with a shell of this machine. */
function run(request: string | Buffer, shell: readonly string[] = []) {
  const [command, ...args] = [...shell, PROGRAM];
  const env = { PATH: process.env['PATH'] };
  const { status, stdout, stderr } = spawnSync(command, args, { input: request, env });
  return { status, stdout: String(stdout), stderr: String(stderr) };
}

/** As a kubelet encodes it: one line. */
function encoded(request: object): string {
  return `${JSON.stringify(request)}\n`;
}

test('the configuration has keys that kubelets know, and names the program and the audience', (t) => {
  const text = readFileSync(join(FOLDER, 'credential-provider.yaml'), 'utf8');
  const [provider] = CONFIG.parse(parse(text)).providers;
  t.is(provider.name, basename(PROGRAM));
  t.is(statSync(PROGRAM).mode & 0o777, 0o755);
  t.like(provider.tokenAttributes, { cacheType: 'Token', requireServiceAccount: true });
  t.regex(text, /ONLY ON NODES THAT PULL FROM THE MIRROR ALONE/);
  const roles = parseAllDocuments(readFileSync(join(FOLDER, 'audience.yaml'), 'utf8'));
  const [role] = roles.map((document) => document.toJS() as { rules: unknown });
  t.deepEqual(role!.rules, [
    {
      apiGroups: [''],
      resources: [provider.tokenAttributes.serviceAccountTokenAudience],
      verbs: ['request-serviceaccounts-token-audience'],
    },
  ]);
});

const RESPONSE = { kind: 'CredentialProviderResponse', apiVersion: API };

for (const shell of [[], ['bash', '--posix']]) {
  test(`the token is the password for the registry of the image${shell.length > 0 ? ', in bash' : ''}`, (t) => {
    for (const [image, registry] of Object.entries({
      'ghcr.io/org/app': 'ghcr.io',
      'docker.io/library/nginx': 'docker.io',
      'registry.example:5000/a/b_c/d--e': 'registry.example:5000',
      [`quay.io/x/y@sha256:${'0'.repeat(64)}`]: 'quay.io',
    })) {
      const { status, stdout, stderr } = run(encoded({ ...REQUEST, image }), shell);
      t.is(status, 0, stderr);
      t.deepEqual(JSON.parse(stdout), {
        ...RESPONSE,
        cacheKeyType: 'Registry',
        cacheDuration: '0s',
        auth: { [registry]: { username: 'kubernetes', password: TOKEN } },
      });
    }
    const { serviceAccountToken: _, ...without } = REQUEST;
    const none = run(encoded(without), shell);
    t.deepEqual([none.status, (JSON.parse(none.stdout) as { auth: object }).auth], [0, {}]);
    const long = `${'a'.repeat(4000)}.${'b'.repeat(4000)}.${'c'.repeat(4000)}`;
    t.true(run(encoded({ ...REQUEST, serviceAccountToken: long }), shell).stdout.includes(long));
  });
}

/** What would run `touch` where a shell took it for more than text. */
function injections(canary: string): string[] {
  const run = `touch ${canary}`;
  return [
    `$(${run})`,
    `\`${run}\``,
    `;${run};`,
    `|${run}`,
    `&&${run}`,
    `\n${run}\n`,
    `'; ${run}; '`,
    '${IFS}',
    '%s%n%d',
    '*',
    '?',
    '[a-z]',
    '~',
    '\u0000',
    '\u202e',
    'ä',
    '"',
    '\\',
  ];
}

test('what is not of the form of a request is refused, and nothing of it is run, printed or told', async (t) => {
  const canary = join(await createTempFolder(t), 'canary');
  const one = JSON.stringify(REQUEST);
  const texts = injections(canary);
  const requests: (string | Buffer)[] = [
    ...texts.flatMap((text) => [
      encoded({ ...REQUEST, image: `ghcr.io/org/${text}` }),
      encoded({ ...REQUEST, image: `${text}/org/app` }),
      encoded({ ...REQUEST, image: `ghcr.io${text}/org/app` }),
      encoded({ ...REQUEST, serviceAccountToken: `a.b.c${text}` }),
      encoded({ ...REQUEST, serviceAccountToken: text }),
      encoded({ ...REQUEST, [`key${text}`]: 'x' }),
      one.replace('ghcr.io/org/app', () => `ghcr.io/${text}"`),
    ]),
    ...['.b.c', 'a.b.', 'a..c', 'a.b', 'a.b.c.d', 'a b.c.d'].map((token) =>
      encoded({ ...REQUEST, serviceAccountToken: token }),
    ),
    ...['', 'app', '/app', ':5000/app', 'a:b:c/app', '[::1]:5000/app', '-x/app', 'x-/app'].map(
      (image) => encoded({ ...REQUEST, image }),
    ),
    '',
    '{}',
    'null',
    '[]',
    one.slice(0, -1),
    `${one}${one}`,
    `${one}\n${one}`,
    JSON.stringify(REQUEST, null, 2),
    one.replace('"image"', '"image":"evil.example/x","image"'),
    one.replace('"image"', '"serviceAccountToken":"x.y.z","image"'),
    one.replace(`"${TOKEN}"`, 'null'),
    one.replace('"ghcr.io/org/app"', '["ghcr.io/org/app"]'),
    one.replace(/\}$/, ',}'),
    one.replace(':"ghcr.io', ': "ghcr.io'),
    // Names of annotations are chosen by whoever may write a service account.
    encoded({ ...REQUEST, serviceAccountAnnotations: { image: 'evil.example/x' } }),
    encoded({ ...REQUEST, kind: 'CredentialProviderResponse' }),
    encoded({ ...REQUEST, apiVersion: 'credentialprovider.kubelet.k8s.io/v1beta1' }),
    encoded({ ...REQUEST, serviceAccountToken: `a.b.${'c'.repeat(70_000)}` }),
    Buffer.concat([
      Buffer.from(one.slice(0, 90)),
      Buffer.from([0xff, 0xfe]),
      Buffer.from(one.slice(90)),
    ]),
  ];
  for (const request of requests) {
    const { status, stdout, stderr } = run(request);
    const shown = String(request).slice(0, 300);
    t.deepEqual([status, stdout], [1, ''], shown);
    t.regex(stderr, /^entrepot-credentials: the (?:request|image|token) [a-z JWT]+\n$/, shown);
  }
  t.false(existsSync(canary));
});

test('what the program answers is a login at a mirror that knows the cluster', async (t) => {
  const issuer = 'https://kubernetes.default.svc';
  const key = new SigningKey({ alg: 'RS256' });
  const jwks = await writeJwks(t, jwksOf(key));
  const cluster = { name: 'prod', issuer, audience: 'entrepot', jwks };
  const { ask } = await startPrivateMirror(t, ['k8s:prod:team-a:*'], { kubernetes: [cluster] });
  const statusFor = async (namespace: string): Promise<number> => {
    const claims = serviceAccount(issuer, { at: Date.now(), namespace, account: 'builder' });
    const request = { ...REQUEST, serviceAccountToken: await key.sign(claims) };
    const { auth } = JSON.parse(run(encoded(request)).stdout) as Answer;
    const { username, password } = auth['ghcr.io']!;
    const pair = Buffer.from(`${username}:${password}`).toString('base64');
    return (await ask(SECRET, `Basic ${pair}`)).status;
  };
  t.is(await statusFor('team-a'), 200);
  t.is(await statusFor('team-b'), 404);
});

interface Answer {
  readonly auth: Readonly<Record<string, { readonly username: string; readonly password: string }>>;
}
