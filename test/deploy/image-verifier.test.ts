/** What deploy/containerd gives containerd: its verifier is run as containerd runs it, beside a mirror with rules. */
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { ExecutionContext } from 'ava';
import { buildImage, buildIndex, digestOf, type Stored } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { missingPackages, testUnless } from '../helpers/needs.ts';
import { REPOSITORY, UPSTREAM } from '../helpers/scene.ts';
import { serve } from '../helpers/serve.ts';
import { until } from '../helpers/until.ts';
import { writeUsers } from '../access/world.ts';
import { startGuarded } from '../admission/guarded.ts';

const test = testUnless('the verifier', missingPackages('curl'));
const FOLDER = join(import.meta.dirname, '..', '..', 'deploy', 'containerd');
const VERIFIER = join(FOLDER, 'image-verifier', 'entrepot');
const DESCRIPTOR = 'application/vnd.oci.descriptor.v1+json';

interface Verified {
  readonly code: number | null;
  readonly reason: string;
}

/** Runs it as containerd does: a descriptor on standard input, and no environment of its own. */
function verifierOf(t: ExecutionContext) {
  return async (
    settings: Readonly<Record<string, string>>,
    image: { readonly name: string; readonly digest: string },
    more: readonly string[] = [],
  ): Promise<Verified> => {
    const file = join(await createTempFolder(t), 'image-verifier.conf');
    const lines = Object.entries(settings).map(([key, value]) => `${key}='${value}'\n`);
    writeFileSync(file, lines.join(''));
    const args = ['-name', image.name, '-digest', image.digest, '-stdin-media-type', DESCRIPTOR];
    const env = { PATH: process.env['PATH'], ENTREPOT_VERIFIER_CONFIG: file };
    const child = spawn(VERIFIER, [...args, ...more], { env, stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.on('error', () => undefined);
    child.stdin.end(JSON.stringify({ mediaType: 'a/b', size: 1, digest: image.digest }));
    const { promise, resolve } = Promise.withResolvers<number | null>();
    child.on('close', resolve);
    const reason = (await text(child.stdout)).trim();
    return { code: await promise, reason };
  };
}

test('an image that the mirror refuses is refused, with its reason; one that it admits is admitted', async (t) => {
  const { registry, image, mirror, signer, clock } = await startGuarded(t);
  const verify = verifierOf(t);
  const { digest } = image.manifest;
  const named = { name: `${UPSTREAM}/${REPOSITORY}:latest`, digest };
  const refused = await verify({ mirror: mirror.url }, named);
  t.is(refused.code, 1);
  t.regex(refused.reason, /may not be pulled here: admission\.rules\[0\] .* it has no signature/);
  signer.attach(registry, REPOSITORY, image.manifest);
  clock.advance(30_000);
  const settings = { mirror: mirror.url };
  t.deepEqual(await verify(settings, named), {
    code: 0,
    reason: `${UPSTREAM}/${REPOSITORY}@${digest} may be pulled`,
  });
  for (const end of ['', `@${digest}`, `:v1@${digest}`]) {
    const full = `${UPSTREAM}/${REPOSITORY}${end}`;
    t.is((await verify(settings, { name: full, digest }, ['-operation', 'run'])).code, 0, full);
  }
  const other = { name: `${UPSTREAM}/team/other:latest`, digest };
  t.is((await verify(settings, other)).code, 1);
});

test('it asks for an image as who may pull it, where the mirror wants to know', async (t) => {
  const folder = await createTempFolder(t);
  const users = join(folder, 'htpasswd');
  writeUsers(users, { node: 'secret' });
  const rules = [{ who: ['user:node'], may: ['pull' as const], images: ['**'] }];
  const access = { token: { ttl: 60_000 }, htpasswd: { file: users }, rules };
  const { registry, image, mirror, signer } = await startGuarded(t, { access });
  signer.attach(registry, REPOSITORY, image.manifest);
  const verify = verifierOf(t);
  const named = { name: `${UPSTREAM}/${REPOSITORY}:latest`, digest: image.manifest.digest };
  t.is((await verify({ mirror: mirror.url }, named)).code, 1);
  const netrc = join(folder, 'netrc');
  writeFileSync(netrc, 'machine 127.0.0.1 login node password secret\n');
  t.deepEqual((await verify({ mirror: mirror.url, netrc }, named)).code, 0);
});

test('of an index what is for this machine is asked about too', async (t) => {
  const [own, foreign] = ['own', 'foreign'].map((seed) => buildImage({ seed, layers: [10] })) as [
    ReturnType<typeof buildImage>,
    ReturnType<typeof buildImage>,
  ];
  const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch as 'x64' | 'arm64'];
  const index = buildIndex([
    { image: foreign, platform: { os: 'linux', architecture: 's390x' } },
    { image: own, platform: { os: 'linux', architecture } },
  ]);
  const answers = new Map<string, { status: number; body: Buffer | string }>();
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const digest = request.url!.split('/').at(-1)!.split('?')[0]!;
    asked.push(digest);
    const { status, body } = answers.get(digest) ?? { status: 404, body: '' };
    response.writeHead(status).end(body);
  });
  const { origin: mirror } = await serve(t, server);
  const served = ({ bytes: body }: Stored) => ({ status: 200, body });
  const denied = { errors: [{ code: 'DENIED', message: 'too many findings' }] };
  answers.set(index.manifest.digest, served(index.manifest));
  answers.set(own.manifest.digest, { status: 403, body: JSON.stringify(denied) });
  const verify = verifierOf(t);
  const named = { name: 'hub.example/app:v1', digest: index.manifest.digest };
  const refused = await verify({ mirror }, named);
  t.deepEqual(refused, {
    code: 1,
    reason: `hub.example/app@${own.manifest.digest}: too many findings`,
  });
  answers.set(own.manifest.digest, served(own.manifest));
  t.is((await verify({ mirror }, named)).code, 0);
  t.false(asked.includes(foreign.manifest.digest));
  const nothing = buildIndex([
    { image: foreign, platform: { os: 'linux', architecture: 's390x' } },
  ]);
  answers.set(nothing.manifest.digest, served(nothing.manifest));
  const none = await verify({ mirror }, { ...named, digest: nothing.manifest.digest });
  t.is(none.code, 1);
  t.regex(none.reason, /has nothing for/);
  // A verdict that is pending is waited for.
  answers.set(own.manifest.digest, { status: 503, body: '' });
  const before = asked.length;
  const waiting = verify({ mirror, seconds: '20' }, { ...named, digest: own.manifest.digest });
  await until('it is asked again', () => asked.length > before + 1);
  answers.set(own.manifest.digest, served(own.manifest));
  t.is((await waiting).code, 0);
});

test('of an index all that containerd could take for this machine is asked about, however it is written', async (t) => {
  const architecture = process.arch === 'x64' ? 'amd64' : 'arm64';
  const alias = architecture === 'amd64' ? 'x86_64' : 'aarch64';
  const [good, bad] = [digestOf('good'), digestOf('bad')];
  const escaped = String.raw`\u0061${architecture.slice(1)}`;
  const platform = (name: string, os = 'linux') =>
    `"platform":{"os":"${os}","architecture":"${name}"}`;
  const own = platform(architecture);
  const decoy = `{"digest":"${good}",${own}}`;
  const hidden: Readonly<Record<string, readonly string[]>> = {
    'another digest before it': [`{"annotations":{"digest":"${good}"},${own},"digest":"${bad}"}`],
    'two digests': [`{"digest":"${good}","Digest":"${bad}",${own}}`],
    'a brace in a text': [decoy, `{"annotations":{"a":"{"},"digest":"${bad}",${own}}`],
    capitals: [decoy, `{"digest":"${bad}","Platform":{"Architecture":"${architecture}"}}`],
    'an escape': [decoy, `{"digest":"${bad}",${platform(escaped)}}`],
    'an escape in a key': [
      decoy,
      String.raw`{"digest":"${bad}","pl\u0061tform":{"architecture":"${architecture}"}}`,
    ],
    'another name': [decoy, `{"digest":"${bad}",${platform(alias)}}`],
    'no platform': [
      `{"digest":"${good}",${platform(architecture, 'windows')}}`,
      `{"digest":"${bad}"}`,
    ],
  };
  const documents = Object.values(hidden).map((entries) => `{"manifests":[${entries.join(',')}]}`);
  documents.push(
    String.raw`{"manifest\u0073":[{"digest":"${bad}",${own}}]}`,
    `{"Manifests":[{"digest":"${bad}",${own}}]}`,
  );
  const plain = `{"annotations":{"said":"\\"[{"},"manifests":[${decoy},{"digest":"${bad}",${platform('s390x')}}]}`;
  const served = new Map([...documents, plain].map((each) => [digestOf(each), each]));
  served.set(good, '{}');
  const server = createServer((request, response) => {
    const [at = ''] = request.url!.split('/').at(-1)!.split('?');
    response.writeHead(served.has(at) ? 200 : 403).end(served.get(at));
  });
  const { origin: mirror } = await serve(t, server);
  const verify = verifierOf(t);
  for (const each of documents) {
    t.is(
      (await verify({ mirror }, { name: 'hub.example/app:v1', digest: digestOf(each) })).code,
      1,
      each,
    );
  }
  const admitted = await verify(
    { mirror },
    { name: 'hub.example/app:v1', digest: digestOf(plain) },
  );
  t.is(admitted.code, 0, admitted.reason);
});

test('whatever is no yes is a no: a mirror that is away or silent, no settings, and names that are none', async (t) => {
  const verify = verifierOf(t);
  const digest = digestOf('x');
  const named = { name: 'hub.example/app:v1', digest };
  const away = await verify({ mirror: 'http://127.0.0.1:1' }, named);
  t.deepEqual(away, { code: 1, reason: 'the mirror http://127.0.0.1:1 does not answer' });
  const silent = createServer(() => undefined);
  const { origin: mirror } = await serve(t, silent);
  t.is((await verify({ mirror, seconds: '1' }, named)).code, 1);
  t.regex((await verify({}, named)).reason, /no mirror is named/);
  for (const name of [
    'app',
    '',
    '/app',
    'hub.example/',
    'hub.example//app',
    'hub.example/a b',
    'hub.example/a?ns=x',
    'hub.example/$(id)',
  ]) {
    t.deepEqual(await verify({ mirror }, { name, digest }), {
      code: 1,
      reason: 'containerd names no image',
    });
  }
  for (const bad of ['', 'sha256:../../x', 'v1?x']) {
    const { code, reason } = await verify({ mirror }, { ...named, digest: bad });
    t.deepEqual([code, reason], [1, 'containerd names no digest']);
  }
  const skipped = await verify({ mirror, skip: 'other hub.example' }, named);
  t.deepEqual(skipped, { code: 0, reason: 'images of hub.example are not asked about' });
});

test('it can be run, and containerd waits longer for it than it waits itself', (t) => {
  t.is(statSync(VERIFIER).mode & 0o111, 0o111);
  const [, seconds] = /^seconds=(\d+)/m.exec(readFileSync(VERIFIER, 'utf8')) ?? [];
  const [, timeout] =
    /per_verifier_timeout = '(\d+)s'/.exec(readFileSync(join(FOLDER, 'config.toml'), 'utf8')) ?? [];
  t.true(Number(timeout) > Number(seconds) && Number(seconds) > 20);
});
