import { createServer } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { createCertificates } from '../helpers/certificate.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildArtifact, buildImage, type Image } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';
import { REPOSITORY, UPSTREAM, refusalOf, startScene } from '../helpers/scene.ts';
import { serve } from '../helpers/serve.ts';
import { runDoctor } from '../cli/run-doctor.ts';
import { rule } from '../sync/rules.ts';
import { Site } from '../sync/site.ts';

const USER = { username: 'robot', password: 'pass:word' };
const always = { times: Infinity };

function shown({ requests }: FakeRegistry): string[] {
  return requests.map(
    ({ origin, method, authorization }) => `${origin} ${method} ${authorization}`,
  );
}

/** A path of the registry as a redirect to the same one elsewhere. */
function redirectTo(to: FakeRegistry, from: FakeRegistry, status: number, paths: string[]): void {
  for (const path of paths) {
    from.status(path, status, { ...always, headers: { Location: `${to.url}${path}` } });
  }
}

test("a gateway to another registry is followed by that one's own challenge, without our credentials", async (t) => {
  const back = await FakeRegistry.start(t, { auth: { kind: 'bearer' } });
  const { registry, manifest, blob, image } = await startScene(t, {
    registry: { auth: { kind: 'basic', ...USER } },
    upstream: { credentials: USER },
  });
  back.addImage(REPOSITORY, 'latest', image, { name: 'app' });
  const manifests = `/v2/${REPOSITORY}/manifests`;
  redirectTo(back, registry, 307, [
    `${manifests}/latest`,
    `${manifests}/${image.manifest.digest}`,
    `/v2/${REPOSITORY}/blobs/${image.layer(1).digest}`,
  ]);
  t.deepEqual((await manifest('latest')).body, image.manifest.bytes);
  t.deepEqual((await blob(image.layer(1))).body, image.layer(1).bytes);
  t.deepEqual(back.conversation(), [
    `HEAD /v2/${REPOSITORY}/manifests/latest`,
    `GET token repository:${REPOSITORY}:pull`,
    `HEAD /v2/${REPOSITORY}/manifests/latest`,
    `GET /v2/${REPOSITORY}/manifests/<app>`,
    `GET /v2/${REPOSITORY}/blobs/<app.layer1>`,
  ]);
  t.false(shown(back).some((line) => line.includes('robot')));
  t.false(shown(registry).some((line) => line.includes('bearer')));
});

test('a registry that says that it has moved for ever is told with the url to write', async (t) => {
  const now = await FakeRegistry.start(t, { auth: { kind: 'basic', ...USER } });
  const { registry, mirror, manifest, image } = await startScene(t);
  now.addImage(REPOSITORY, 'latest', image, { name: 'app' });
  redirectTo(now, registry, 308, [`/v2/${REPOSITORY}/manifests/latest`]);
  const answer = refusalOf(await manifest('latest'));
  const advice = `; ${registry.host} has moved: write upstreams.${UPSTREAM}.url: ${now.url}`;
  t.true(String(answer['message']).endsWith(advice), String(answer['message']));
  await mirror.logged('the registry has moved; write the url where it is now');
  t.deepEqual(shown(now), ['registry HEAD none', 'registry GET none']);
});

test('http that redirects to https of the same host keeps its login', async (t) => {
  const { server, ca } = await createCertificates();
  const secure = await FakeRegistry.start(t, {
    tls: server,
    auth: { kind: 'basic', ...USER },
  });
  const { registry, manifest, image } = await startScene(t, {
    upstream: { credentials: USER, tls: { ca: ca.toString() } },
  });
  secure.addImage(REPOSITORY, 'latest', image, { name: 'app' });
  const manifests = `/v2/${REPOSITORY}/manifests`;
  const paths = [`${manifests}/latest`, `${manifests}/${image.manifest.digest}`];
  redirectTo(secure, registry, 301, paths);
  t.deepEqual((await manifest('latest')).body, image.manifest.bytes);
  t.deepEqual(shown(secure), [
    'registry HEAD none',
    'registry HEAD basic:robot',
    'registry GET basic:robot',
  ]);
});

/** Redirects all of `/v2/` to `folder` of another registry, with the query, and says nothing itself. */
async function startGateway(
  t: ExecutionContext,
  to: FakeRegistry,
  folder: string,
): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const { origin } = await serve(
    t,
    createServer(({ method, url = '' }, response) => {
      asked.push(`${method} ${url}`);
      const location = `${to.url}${url.replace('/v2/', `/v2/${folder}`)}`;
      response.writeHead(307, { location }).end();
    }),
  );
  return { url: origin, asked };
}

/** A registry behind a gateway, with one image of four tags and its signature. */
async function startBack(t: ExecutionContext, folder: string) {
  const back = await FakeRegistry.start(t, { auth: { kind: 'bearer' }, pageSize: 2 });
  const image = buildImage({ seed: 'app', layers: [1000, 2000] });
  const artifactType = 'application/example.signature';
  const repository = `${folder}${REPOSITORY}`;
  back.addImage(repository, 'latest', image, { name: 'app' });
  for (const tag of ['a', 'b', 'c']) back.tag(repository, tag, image.manifest);
  const referrers = ['one', 'two', 'three'].map((seed) =>
    buildArtifact({ seed, artifactType, subject: image.manifest }),
  );
  for (const referrer of referrers) back.addImage(repository, undefined, referrer);
  return { back, image, referrers, gateway: await startGateway(t, back, folder) };
}

const digestsOf = (images: readonly Image[]): string[] =>
  images.map(({ manifest }) => manifest.digest).toSorted();

for (const folder of ['', 'site/']) {
  const where = folder === '' ? 'another registry' : 'a folder of another registry';
  test(`all pages of tags and referrers are read through a gateway to ${where}`, async (t) => {
    const { back, image, referrers, gateway } = await startBack(t, folder);
    const { url } = await startMirror(t, { upstreams: { [UPSTREAM]: { url: gateway.url } } });
    const app = `/v2/${REPOSITORY}`;
    const listed = JSON.parse(String((await get(`${url}${app}/tags/list`)).body)) as object;
    t.deepEqual(listed, { name: REPOSITORY, tags: ['a', 'b', 'c', 'latest'] });
    const answer = await get(`${url}${app}/referrers/${image.manifest.digest}`);
    const { manifests } = JSON.parse(String(answer.body)) as { manifests: { digest: string }[] };
    t.deepEqual(manifests.map(({ digest }) => digest).toSorted(), digestsOf(referrers));
    const at = `/v2/${folder}${REPOSITORY}`;
    const last = encodeURIComponent(digestsOf(referrers)[1]!);
    t.deepEqual(back.conversation(), [
      `GET ${at}/tags/list?n=1000`,
      `GET token repository:${folder}${REPOSITORY}:pull`,
      `GET ${at}/tags/list?n=1000`,
      `GET ${at}/tags/list?n=2&last=b`,
      `GET ${at}/referrers/<app>`,
      `GET ${at}/referrers/<app>?last=${last}&n=2`,
      `HEAD ${at}/manifests/<sha256-app>`,
    ]);
    const { digest } = image.manifest;
    t.deepEqual(gateway.asked, [
      `GET ${app}/tags/list?n=1000`,
      `GET ${app}/tags/list?n=2&last=b`,
      `GET ${app}/referrers/${digest}`,
      `GET ${app}/referrers/${digest}?last=${last}&n=2`,
      `HEAD ${app}/manifests/${digest.replace(':', '-')}`,
    ]);
  });
}

test('an image behind a gateway is synced with its referrers, and served and listed with the gateway gone', async (t) => {
  const { back, image, referrers, gateway } = await startBack(t, 'site/');
  const rules = [rule(REPOSITORY, { tags: { globs: ['l*'] }, referrers: true })];
  const others = { [UPSTREAM]: { url: gateway.url } };
  const site = await Site.start(t, { registry: back, others, rules });
  const { isOk, failures } = await site.run();
  t.deepEqual({ isOk, failures }, { isOk: true, failures: [] });
  const straight = await startBack(t, '');
  const beside = await Site.start(t, { registry: straight.back, rules });
  await beside.run();
  const asked = site.asked().map((line) => line.replace('site/', ''));
  t.deepEqual(asked, beside.asked());
  await site.close();
  await back.refuse();
  const { storePath } = site;
  const { url } = await startMirror(t, { upstreams: others, storePath, offline: true });
  const app = `${url}/v2/${REPOSITORY}`;
  t.deepEqual((await get(`${app}/manifests/latest`)).body, image.manifest.bytes);
  for (const { digest, bytes } of [...image.blobs, ...referrers.flatMap(({ blobs }) => blobs)]) {
    t.deepEqual((await get(`${app}/blobs/${digest}`)).body, bytes);
  }
  const tags = await get(`${app}/tags/list`);
  const list = { name: REPOSITORY, tags: ['a', 'b', 'c', 'latest'] };
  t.deepEqual(JSON.parse(String(tags.body)), list);
  const answer = await get(`${app}/referrers/${image.manifest.digest}`);
  const { manifests } = JSON.parse(String(answer.body)) as { manifests: { digest: string }[] };
  t.deepEqual(manifests.map(({ digest }) => digest).toSorted(), digestsOf(referrers));
});

test('doctor says that a gateway redirects, and that its image can be pulled', async (t) => {
  const { back, gateway } = await startBack(t, 'site/');
  const yaml = `defaultUpstream: ${UPSTREAM}\nupstreams: { ${UPSTREAM}: { url: '${gateway.url}' } }`;
  const { code, stdout } = await runDoctor(t, { yaml, args: [`${UPSTREAM}/${REPOSITORY}:latest`] });
  t.is(code, 0, stdout);
  t.regex(stdout, /^ {2}warning {2}registry +\/v2\/ is answered with a redirect to http:/m);
  t.regex(stdout, /^ {2}ok {7}image +hub\.example\/library\/app:latest is there, DIGEST$/m);
  const at = `/v2/site/${REPOSITORY}`;
  t.deepEqual(back.conversation(), [
    `HEAD ${at}/manifests/latest`,
    `GET token repository:site/${REPOSITORY}:pull`,
    `HEAD ${at}/manifests/latest`,
    `GET ${at}/manifests/<app>`,
    `GET ${at}/blobs/<app.config> bytes=0-0`,
  ]);
});
