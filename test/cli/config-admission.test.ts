/** What `config check` finds of what may be pulled. */
import { utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Authority, IDENTITY, ISSUER } from '../admission/signatures/authority.ts';
import { KeyHolder } from '../admission/signing.ts';
import { AccessSite } from './run-access.ts';

const KEY = 'signedBy: [{ key: release }]';
const PERSON = `signedBy: [{ identity: '${IDENTITY}', issuer: '${ISSUER}' }]`;

async function siteOf(t: ExecutionContext, rules: readonly string[]): Promise<AccessSite> {
  const yaml = [
    'listen: 127.0.0.1:5000\nupstreams: { docker.io: ~, ghcr.io: ~ }',
    'admission:',
    '  trust:',
    '    sigstore: { trustedRoot: trusted_root.json }',
    '    keys: { release: { file: cosign.pub }, next: { file: cosign.pub } }',
    '  rules:',
    ...rules.map((rule) => `    - { ${rule} }`),
  ].join('\n');
  const root = JSON.stringify((await Authority.create()).root);
  return new AccessSite(t, yaml, { 'trusted_root.json': root, 'cosign.pub': new KeyHolder().pem });
}

async function warnings(t: ExecutionContext, rules: readonly string[]): Promise<string[]> {
  const { code, stdout, stderr } = await (await siteOf(t, rules)).run('config', 'check', '--json');
  t.is(code, 0, stdout + stderr);
  return (JSON.parse(stdout) as { warnings: string[] }).warnings;
}

const rule = (images: string, mode = 'enforce', asks = KEY): string =>
  `images: ['${images}'], mode: ${mode}, ${asks}`;

test('config check: a rule that is about no image keeps nothing back, and is told with what is meant', async (t) => {
  const idle =
    'admission.rules[0]: it is about no image that can be pulled here, and keeps nothing back';
  t.deepEqual(await warnings(t, [rule('org/**')]), [
    'admission.rules[0].images[0]: it matches no repository: each has its registry in front; write docker.io/org/**',
    idle,
  ]);
  t.deepEqual((await warnings(t, [rule('quay.io/org/**')])).slice(-1), [idle]);
  t.deepEqual((await warnings(t, [rule('ghcr.io/Org/**')])).slice(-1), [idle]);
  const half = `images: ['ghcr.io/org/**', 'ghcr.io/org/app:1'], mode: enforce, ${KEY}`;
  const [told = '', ...more] = await warnings(t, [half]);
  t.regex(
    told,
    /^admission\.rules\[0\]\.images\[1\]: .*whatever the tag; write ghcr\.io\/org\/app$/,
  );
  t.deepEqual(more, []);
  t.deepEqual(await warnings(t, [rule('quay.io/org/**', 'off')]), []);
});

test('config check: a rule that refuses nothing that another one does not refuse', async (t) => {
  const covered = (at: number, other: number): string[] => [
    `admission.rules[${at}]: it refuses nothing that admission.rules[${other}] does not refuse; take it out, or have it ask more`,
  ];
  const org = rule('ghcr.io/org/**');
  const cases: readonly (readonly [rules: readonly string[], told: readonly string[]])[] = [
    [[org, rule('ghcr.io/org/app')], covered(1, 0)],
    [[rule('ghcr.io/org/app'), org], covered(0, 1)],
    [[org, org], covered(1, 0)],
    [[org, rule('ghcr.io/org/**', 'audit')], covered(1, 0)],
    [[rule('ghcr.io/org/**', 'audit'), rule('ghcr.io/org/app')], []],
    [[rule('ghcr.io/org/**', 'off'), rule('ghcr.io/org/app')], []],
    [[org, rule('ghcr.io/other/**')], []],
    [[org, rule('ghcr.io/org/app', 'enforce', 'signedBy: [{ key: next }]')], []],
    // One key is harder to meet than one of two.
    [
      [org, rule('ghcr.io/org/app', 'enforce', 'signedBy: [{ key: next }, { key: release }]')],
      covered(1, 0),
    ],
    [
      [
        rule('ghcr.io/org/**', 'enforce', 'signedBy: [{ key: next }, { key: release }]'),
        rule('ghcr.io/org/app'),
      ],
      [],
    ],
    [
      [
        rule('ghcr.io/org/**', 'enforce', 'minAge: 48h'),
        rule('ghcr.io/org/app', 'enforce', 'minAge: 24h'),
      ],
      covered(1, 0),
    ],
    [
      [
        rule('ghcr.io/org/**', 'enforce', 'minAge: 24h'),
        rule('ghcr.io/org/app', 'enforce', 'minAge: 48h'),
      ],
      [],
    ],
    [
      [rule('ghcr.io/org/**', 'enforce', `minAge: 24h, ${KEY}`), rule('ghcr.io/org/app')],
      covered(1, 0),
    ],
    [[org, rule('ghcr.io/org/app', 'enforce', `minAge: 24h, ${KEY}`)], []],
  ];
  for (const [rules, told] of cases) t.deepEqual(await warnings(t, rules), told, rules.join('; '));
});

test('config check: an old trust root where a rule enforces by it, one that is missing, and a key that nobody has written', async (t) => {
  const old = async (rules: readonly string[]): Promise<string> => {
    const site = await siteOf(t, rules);
    const at = Date.now() / 1000 - 45 * 86_400;
    utimesSync(join(site.cwd, 'trusted_root.json'), at, at);
    return (await site.run('config', 'check')).stderr;
  };
  t.regex(
    await old([rule('ghcr.io/org/**', 'enforce', PERSON)]),
    /^warning: admission\.trust\.sigstore\.trustedRoot: it was written 45 days ago, .*: entrepot trust refresh --out FILE$/m,
  );
  for (const rules of [[rule('ghcr.io/org/**')], [rule('ghcr.io/org/**', 'audit', PERSON)]]) {
    t.notRegex(await old(rules), /days ago/);
  }
  const fresh = await siteOf(t, [rule('ghcr.io/org/**', 'enforce', PERSON)]);
  t.is((await fresh.run('config', 'check')).stderr, '');
  writeFileSync(join(fresh.cwd, 'trusted_root.json'), '{}');
  const other = await fresh.run('config', 'check');
  t.is(other.code, 78);
  t.regex(other.stderr, /trusted_root\.json is no trusted root of a Sigstore/);
  const unknown = await siteOf(t, [
    rule('ghcr.io/org/**', 'enforce', 'signedBy: [{ key: relase }]'),
  ]);
  const slip = await unknown.run('config', 'check');
  t.is(slip.code, 78);
  t.regex(slip.stderr, /"relase" is no name of a key/);
});

test('config check: Docker asks Docker Hub for what is refused of it here', async (t) => {
  const told = async (images: string): Promise<boolean> =>
    (await warnings(t, [rule(images)])).some((each) =>
      each.includes('registry-mirrors is advisory'),
    );
  t.true(await told('docker.io/org/**'));
  t.true(await told('**'));
  t.false(await told('ghcr.io/**'));
});
