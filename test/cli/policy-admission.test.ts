/** `policy check` and `explain`: whether an image may be pulled by rules of admission, and why. */
import test, { type ExecutionContext } from 'ava';
import type { AdmissionReport } from '../../src/api/admission-api.ts';
import type { PolicyReport } from '../../src/api/access-api.ts';
import type { ImageReport } from '../../src/api/store-api.ts';
import { attachEnvelope, PLAIN } from '../admission/notation/notation-scene.ts';
import { envelopeOf, MANIFEST, STORES } from '../admission/notation/signed-by-notation.ts';
import { attachBundle, KeyHolder, statementOf } from '../admission/signing.ts';
import { Authority, IDENTITY, ISSUER } from '../admission/signatures/authority.ts';
import { claimPort } from '../helpers/claim-port.ts';
import { until } from '../helpers/until.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, buildIndex, MEDIA_TYPES, store, type Stored } from '../helpers/image.ts';
import { AccessSite } from './run-access.ts';

const REPOSITORY = 'org/app';
const BY_KEY = `admission:
  trust: { keys: { release: { file: cosign.pub } } }
  rules:
    - images: ['hub.example/org/**']
      mode: enforce
      signedBy: [{ key: release }]
`;
const BY_IDENTITY = `admission:
  trust: { sigstore: { trustedRoot: trusted_root.json } }
  rules:
    - images: ['hub.example/org/**']
      mode: enforce
      signedBy: [{ identity: '${IDENTITY}', issuer: '${ISSUER}' }]
    - images: ['hub.example/**']
      mode: audit
      signedBy: [{ identity: 'https://github.com/other/**', issuer: '${ISSUER}' }]
`;

async function openSite(t: ExecutionContext, rules: string, files: Record<string, string> = {}) {
  const registry = await FakeRegistry.start(t);
  const signer = new KeyHolder();
  const yaml = [
    `listen: 127.0.0.1:0\nadmin: 127.0.0.1:${await claimPort()}`,
    'store: { minFreeBytes: 0 }\ndefaultUpstream: hub.example',
    `upstreams: { hub.example: { url: '${registry.url}' } }`,
    rules,
  ].join('\n');
  const site = new AccessSite(t, yaml, { 'cosign.pub': signer.pem, ...files });
  const image = buildImage({ seed: 'app', layers: [10] });
  registry.addImage(REPOSITORY, 'v1', image);
  const check = async (...args: string[]) => site.run('policy', 'check', 'org/app:v1', ...args);
  return { site, check, yaml, registry, signer, image: image.manifest };
}

interface Manifest {
  readonly config: Pick<Stored, 'digest' | 'size'>;
  readonly layers: readonly Pick<Stored, 'digest' | 'size'>[];
}

const short = ({ digest }: Stored): string => digest.slice(0, 19);

test('policy check without a server: an image that nobody signed is refused, with the rule and its line', async (t) => {
  const { check, image } = await openSite(t, BY_KEY);
  t.deepEqual(await check(), {
    code: 1,
    stdout: `hub.example/org/app
  admission  refused
  judged     hub.example/org/app@${image.digest}
  admission.rules[0] (DIR/entrepot.yaml:9), enforce: refused
    signedBy         refused: it has no signature
`,
    stderr: '',
  });
});

test('policy check asks an upstream once for what is attached, whatever comes of it', async (t) => {
  const { check, registry, signer, image } = await openSite(t, BY_KEY);
  const asked = (): string[] =>
    registry.conversation().filter((line) => /referrers|sha256-/.test(line));
  const tag = `/v2/${REPOSITORY}/manifests/${image.digest.replace(':', '-')}`;
  const list = `GET /v2/${REPOSITORY}/referrers/${image.digest}`;
  t.is((await check()).code, 1);
  t.deepEqual(asked(), [list, `HEAD ${tag}`, `HEAD ${tag}.sig`, `GET ${tag}.sig`]);
  registry.clear();
  signer.attach(registry, REPOSITORY, image);
  t.is((await check()).code, 0);
  t.deepEqual(
    asked().filter((line) => line === list),
    [list],
  );
});

test('policy check of what no rule is about says what rules are about', async (t) => {
  const { site, registry } = await openSite(t, BY_KEY);
  registry.addImage('orgs/app', 'v1', buildImage({ seed: 'other', layers: [10] }));
  t.deepEqual(await site.run('policy', 'check', 'orgs/app:v1'), {
    code: 0,
    stdout:
      'hub.example/orgs/app\n  no rule of admission is about it: those that are not off are about hub.example/org/**\n',
    stderr: '',
  });
});

test('policy check tells each signature, and that one that was attached since the refusal counts', async (t) => {
  const { site, check, registry, signer, image } = await openSite(t, BY_KEY);
  await site.serve();
  const other = new KeyHolder().attach(registry, REPOSITORY, image);
  const why = 'the signature is of no key that counts here, or what it signs was changed';
  const ofOther = `      ${short(other)}  does not count: ${why}\n`;
  const wrong = await check();
  t.is(wrong.code, 1);
  t.true(wrong.stdout.endsWith(`    signedBy         refused: ${why}\n${ofOther}`), wrong.stdout);
  const own = signer.attach(registry, REPOSITORY, image);
  const { code, stdout } = await check();
  t.true(stdout.includes(`      ${short(own)}  counts: key release\n`), stdout);
  t.true(stdout.includes(ofOther), stdout);
  // The verdict is of what it tells, however young the refusal is.
  t.is(code, 0);
  t.regex(stdout, /^ {2}admission {2}admitted$/m);
  t.regex(stdout, /^ {4}signedBy {9}admitted$/m);
});

test('policy check tells who signed without a key, by whose word and when, and what a rule that audits would do', async (t) => {
  const authority = await Authority.create();
  const root = JSON.stringify(authority.root);
  const { check, registry, image } = await openSite(t, BY_IDENTITY, { 'trusted_root.json': root });
  const signed = await authority.sign({ payload: statementOf(image) });
  const bundle = Buffer.from(JSON.stringify(signed));
  const carrier = attachBundle(registry, { repository: REPOSITORY, image, bundle });
  const { code, stdout } = await check();
  t.is(code, 0, stdout);
  const [, seen = ''] = /, seen (\S+)$/m.exec(stdout) ?? [];
  t.true(Math.abs(Date.parse(seen) - authority.at) < 600_000, seen);
  t.is(
    stdout,
    `hub.example/org/app
  admission  admitted; a rule that audits would refuse it
  judged     hub.example/org/app@${image.digest}
  admission.rules[0] (DIR/entrepot.yaml:9), enforce: admitted
    signedBy         admitted
      ${short(carrier)}  counts: ${IDENTITY} by the word of ${ISSUER}, seen ${seen}
  admission.rules[1] (DIR/entrepot.yaml:12), audit: refused
    signedBy         refused: "${IDENTITY}" signed it, whom the rule does not name
      ${short(carrier)}  does not count: "${IDENTITY}" signed it, whom the rule does not name
`,
  );
});

test('policy check of a platform tells the signature of the held index that lists it', async (t) => {
  const { site, registry, signer } = await openSite(t, BY_KEY);
  const { url } = await site.serve();
  const platform = { os: 'linux', architecture: 'amd64' };
  const child = buildImage({ seed: 'child', layers: [10], platform });
  const index = buildIndex([{ image: child, platform }]);
  registry.addIndex(REPOSITORY, 'all', index);
  const carrier = signer.attach(registry, REPOSITORY, index.manifest);
  const check = async () => site.run('policy', 'check', `org/app@${child.manifest.digest}`);
  t.is((await check()).code, 1);
  t.is((await get(`${url}/v2/org/app/manifests/all`)).status, 200);
  const { code, stdout } = await check();
  t.is(code, 0, stdout);
  const told = `      ${short(carrier)}  counts: key release, of ${index.manifest.digest}\n`;
  t.true(stdout.endsWith(told), stdout);
});

test('policy check of a subject says no where either access or admission does', async (t) => {
  const rules = `${BY_KEY}access: { rules: [{ who: ['user:alice'], may: [pull], images: ['hub.example/**'] }] }`;
  const { site, check, registry, signer, image } = await openSite(t, rules);
  registry.addImage('team/app', 'v1', buildImage({ seed: 'team', layers: [10] }));
  const asked = async (...args: string[]): Promise<PolicyReport> => {
    const { code, stdout } = await site.run('policy', 'check', ...args, '--json');
    const report = JSON.parse(stdout) as PolicyReport;
    t.is(code, report.isAllowed ? 0 : 1);
    return report;
  };
  const alice = await asked('org/app:v1', '--as', 'user:alice');
  t.like(alice, { isAllowed: false, access: { pull: { isAllowed: true } } });
  t.is(alice.admission?.isAllowed, false);
  t.like(alice.admission?.rules, [{ place: 'admission.rules[0]', line: 9 }]);
  const other = await asked('team/app:v1', '--as', 'user:alice');
  t.true(other.isAllowed);
  t.is(other.admission, undefined);
  signer.attach(registry, REPOSITORY, image);
  t.is((await check()).code, 0);
  const bob = await asked('org/app:v1', '--as', 'user:bob');
  t.like(bob, { isAllowed: false, access: { pull: { isAllowed: false } } });
  t.is(bob.admission?.isAllowed, true);
});

test('policy check cannot tell what the upstream does not say', async (t) => {
  const { site, check, registry } = await openSite(t, BY_KEY);
  t.deepEqual(await site.run('policy', 'check', 'org/app:none'), {
    code: 1,
    stdout:
      'hub.example/org/app\n  admission  unknown\n  because    the upstream has no such tag\n',
    stderr: '',
  });
  await registry.refuse();
  const { code, stdout } = await check();
  t.is(code, 1);
  t.regex(stdout, /^ {2}because {4}hub\.example: /m);
});

test('the admin API says whether a digest may be pulled: of evidence nothing is asked, of others what the rules say', async (t) => {
  const { site, registry, signer, image } = await openSite(t, BY_KEY);
  const { adminUrl } = await site.serve();
  const ask = async (name: string): Promise<AdmissionReport> => {
    const { status, body } = await get(
      `${adminUrl}/api/v1/admission?${new URLSearchParams({ image: name }).toString()}`,
    );
    t.is(status, 200, String(body));
    return JSON.parse(String(body)) as AdmissionReport;
  };
  const named = `hub.example/org/app:v1@${image.digest}`;
  t.is((await ask(named)).isAllowed, false);
  const carrier = signer.attachByTag(registry, 'org/app', image);
  t.like(await ask(`hub.example/org/app@${carrier.digest}`), { isAllowed: true });
  const free = buildImage({ seed: 'free', layers: [10] });
  registry.addImage('team/app', 'v1', free);
  t.deepEqual(await ask('team/app:v1'), {
    image: 'hub.example/team/app:v1',
    isAllowed: true,
    rules: [],
  });
});

test('explain says of a held image what each rule says by what is held, and asks nobody', async (t) => {
  const { site, yaml, registry, signer, image } = await openSite(
    t,
    BY_KEY.replace('enforce', 'off'),
  );
  const server = await site.serve();
  t.is((await get(`${server.url}/v2/org/app/manifests/v1`)).status, 200);
  t.notRegex((await site.run('explain', 'org/app:v1')).stdout, /verdict/);
  site.write(yaml.replace('mode: off', 'mode: enforce'));
  server.reload();
  registry.clear();
  const refused = await site.run('explain', 'org/app:v1');
  t.regex(
    refused.stdout,
    /^ {2}verdict {2}refused by admission\.rules\[0\] \(DIR\/entrepot\.yaml:9\): signedBy: it has no signature$/m,
  );
  t.deepEqual(registry.conversation(), []);
  signer.attach(registry, REPOSITORY, image);
  t.is((await get(`${server.url}/v2/org/app/manifests/v1`)).status, 200);
  const admitted = await site.run('explain', 'org/app:v1');
  t.regex(admitted.stdout, /^ {2}verdict {2}admitted by admission\.rules\[0\] \(\S+\)$/m);
  t.is(admitted.code, 0);
});

test('explain calls an image complete of whose signature a part is not held, and tells that part apart', async (t) => {
  const { site, yaml, registry, signer, image } = await openSite(t, BY_KEY);
  site.write(yaml.replace('{ url:', '{ hydrate: false, url:'));
  const { url } = await site.serve();
  signer.attach(registry, REPOSITORY, image);
  t.is((await get(`${url}/v2/org/app/manifests/v1`)).status, 200);
  const explain = async () => {
    const { stdout } = await site.run('explain', 'org/app:v1', '--json');
    return JSON.parse(stdout) as ImageReport;
  };
  // The verdict needs the bundle alone: the empty configuration of its carrier is asked for by nobody.
  const { state, missingBytes, attachedMissingBytes } = await explain();
  t.deepEqual([state, attachedMissingBytes], ['partial', 2]);
  const { config, layers } = JSON.parse(String(image.bytes)) as Manifest;
  const parts = [config, ...layers];
  t.is(
    missingBytes,
    parts.reduce((sum, { size }) => sum + size, 0),
  );
  for (const { digest } of parts) {
    t.is((await get(`${url}/v2/org/app/blobs/${digest}`)).status, 200);
  }
  // The last bytes of a blob are sent before it is kept.
  await until('all of them are kept', async () => (await explain()).missingBytes === 0);
  t.like(await explain(), { state: 'complete', missingBytes: 0, attachedMissingBytes: 2 });
  const { stdout } = await site.run('explain', 'org/app:v1');
  t.regex(stdout, /^ {2}state {4}complete\n {2}attached 2 B missing of its signatures /m);
  t.regex((await site.run('ls')).stdout, / complete$/m);
});

test('policy check tells who signed with Notation and when, and what counts by its level alone', async (t) => {
  const rules = `admission:
  trust: { notation: { stores: trust } }
  rules:
    - images: ['hub.example/org/**']
      mode: enforce
      signedBy: [{ notation: { identities: ['${PLAIN}'], level: audit } }]
`;
  const stores = Object.entries(STORES).flatMap(([type, named]) =>
    Object.entries(named).map(([name, pem]) => [`trust/x509/${type}/${name}/root.pem`, pem]),
  );
  const files = Object.fromEntries(stores) as Record<string, string>;
  const { check, registry } = await openSite(t, rules, files);
  const image = registry.addManifest(REPOSITORY, store(MANIFEST, MEDIA_TYPES.manifest), {
    tags: ['v1'],
  });
  registry.addBlob(REPOSITORY, store('{}', MEDIA_TYPES.config));
  registry.addBlob(REPOSITORY, store('layer', MEDIA_TYPES.layer));
  const attach = (name: string) =>
    attachEnvelope(registry, image, envelopeOf(name, 'jws'), { repository: REPOSITORY });
  const [plain, stamped, other] = ['plain', 'stamped', 'otherSize'].map(attach);
  const { code, stdout } = await check();
  t.is(code, 0, stdout);
  const brief = PLAIN.replace('plain', 'brief');
  const why = `, by its level alone: ${JSON.stringify(brief)} signed it, whom the rule does not name`;
  for (const line of [
    `${short(plain!)}  counts: ${PLAIN}`,
    `${short(stamped!)}  counts: ${brief}${why}`,
    `${short(other!)}  does not count: it signs another image: the size is not that of this one`,
  ]) {
    t.true(stdout.replaceAll(/\s+/g, ' ').includes(line.replaceAll(/\s+/g, ' ')), stdout);
  }
});
