import { createServer, request as requestHttp } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { arrivals } from '../helpers/arrivals.ts';
import { get, open, type ClientAnswer } from '../helpers/client.ts';
import { Clock, MINUTE } from '../helpers/clock.ts';
import { FakeRegistry, type FakeRegistryOptions } from '../helpers/fake-registry.ts';
import { Gate } from '../helpers/gate.ts';
import { buildArtifact, buildBlob, buildImage, type Image, type Stored } from '../helpers/image.ts';
import {
  createTempFolder,
  startMirror,
  type MirrorOptions,
  type TestMirror,
  type UpstreamOptions,
} from '../helpers/mirror.ts';
import { refusalOf, staleWarning, told } from '../helpers/scene.ts';
import { serve } from '../helpers/serve.ts';

const HUB = 'docker.io';
const REPOSITORY = 'library/app';
const MIB = 1024 * 1024;
const always = { times: Infinity };

/** The line between two mirrors: writes down what goes over it, stops it, or breaks it. */
class Wire {
  readonly requests: { readonly line: string; readonly via: string | undefined }[] = [];
  /** Where it leads. */
  target = '';
  /** Requests wait here. */
  gate: Gate | undefined;
  #cuts: number[] = [];
  #url = '';

  static async start(t: ExecutionContext, target = ''): Promise<Wire> {
    const wire = new Wire();
    wire.target = target;
    const server = createServer((request, response) => void wire.#carry(request, response));
    wire.#url = (await serve(t, server)).origin;
    return wire;
  }

  get url(): string {
    return this.#url;
  }

  get host(): string {
    return new URL(this.#url).host;
  }

  get lines(): string[] {
    return this.requests.map(({ line }) => line);
  }

  /** The next answer breaks off after so many bytes of its body. */
  cut(after: number): void {
    this.#cuts.push(after);
  }

  async #carry(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = incoming;
    const line = [method, url, headers.range].filter(Boolean).join(' ');
    this.requests.push({ line, via: headers['via'] });
    await this.gate?.pass();
    const onward = requestHttp(`${this.target}${url}`, { method, headers, agent: false });
    outgoing.on('close', () => onward.destroy());
    onward.on('error', () => incoming.socket.destroy());
    onward.on('response', (answer) => {
      outgoing.writeHead(answer.statusCode ?? 0, answer.headers);
      // What is at the other end has shown its headers long before its first byte.
      outgoing.flushHeaders();
      const left = this.#cuts.shift();
      answer.on('error', () => incoming.socket.destroy());
      if (left === undefined) answer.pipe(outgoing);
      else this.#breakOff(answer, outgoing, left);
    });
    onward.end();
  }

  #breakOff(answer: IncomingMessage, outgoing: ServerResponse, after: number): void {
    let left = after;
    answer.on('data', (chunk: Buffer) => {
      if (left <= 0) return;
      const part = chunk.subarray(0, left);
      left -= part.length;
      outgoing.write(part);
      // The kernel delivers what was written before this end.
      if (left === 0) outgoing.socket?.end();
    });
  }
}

/** How a mirror names the registry behind another mirror. */
const FORMS: Record<string, (parent: string) => UpstreamOptions> = {
  'by ns': (url) => ({ url, namespace: HUB }),
  'by prefix': (url) => ({ url, prefix: HUB }),
  'by path': (url) => ({ url: `${url}/${HUB}` }),
};

type Form = keyof typeof FORMS;

/** What the child asks its parent for this, in the words of each form. */
function spelled(form: Form, rest: string, query = ''): string {
  if (form === 'by prefix') return `/v2/${HUB}/${REPOSITORY}/${rest}${query}`;
  if (form === 'by path') return `/${HUB}/v2/${REPOSITORY}/${rest}${query}`;
  return `/v2/${REPOSITORY}/${rest}${query === '' ? '?' : `${query}&`}ns=${HUB}`;
}

interface Tiers {
  readonly registry: FakeRegistry;
  /** What the parent takes for its default: nothing may come here. */
  readonly other: FakeRegistry;
  readonly parent: TestMirror;
  readonly child: TestMirror;
  readonly wire: Wire;
  readonly image: Image;
  readonly clock: Clock;
  readonly ask: (path: string, options?: Parameters<typeof get>[1]) => Promise<ClientAnswer>;
}

interface TiersOptions {
  readonly registry?: FakeRegistryOptions;
  readonly parent?: Partial<MirrorOptions>;
  readonly child?: Partial<MirrorOptions>;
  readonly layers?: readonly number[];
  readonly childTags?: UpstreamOptions['tags'];
}

/** client → child → wire → parent → registry */
async function startTiers(
  t: ExecutionContext,
  form: Form,
  options: TiersOptions = {},
): Promise<Tiers> {
  const clock = new Clock();
  const registry = await FakeRegistry.start(t, { now: clock.now, ...options.registry });
  const other = await FakeRegistry.start(t);
  const image = buildImage({ seed: 'app', layers: options.layers ?? [1000, 2000] });
  registry.addImage(REPOSITORY, 'latest', image, { name: 'app' });
  const parent = await startMirror(t, {
    upstreams: { 'other.example': { url: other.url }, [HUB]: { url: registry.url } },
    clock,
    ...options.parent,
  });
  const wire = await Wire.start(t, parent.url);
  const upstream = FORMS[form]!(wire.url);
  const child = await startMirror(t, {
    upstreams: { [HUB]: { ...upstream, ...(options.childTags && { tags: options.childTags }) } },
    clock,
    ...options.child,
  });
  const ask: Tiers['ask'] = async (path, request) => get(`${child.url}${path}`, request);
  return { registry, other, parent, child, wire, image, clock, ask };
}

function blobUrl({ child }: Pick<Tiers, 'child'>, { digest }: Stored): string {
  return `${child.url}/v2/${REPOSITORY}/blobs/${digest}`;
}

async function settled(...mirrors: readonly TestMirror[]): Promise<object[]> {
  await Promise.all(mirrors.map(async (mirror) => mirror.idle()));
  return mirrors.map(({ server }) => server.activity());
}

const IDLE = { downloads: 0, questions: 0, openFiles: 0 };

// Two tiers

for (const form of Object.keys(FORMS)) {
  test(`${form}: a cold pull fetches each part once at every tier, a warm one nothing but the tag`, async (t) => {
    const { registry, other, parent, wire, image, ask } = await startTiers(t, form);
    const pull = async (): Promise<void> => {
      const manifest = await ask(`/v2/${REPOSITORY}/manifests/latest`);
      t.deepEqual(manifest.body, image.manifest.bytes);
      t.is(manifest.headers['content-type'], image.manifest.mediaType);
      t.is(manifest.headers['docker-content-digest'], image.manifest.digest);
      for (const blob of image.blobs) {
        t.deepEqual((await ask(`/v2/${REPOSITORY}/blobs/${blob.digest}`)).body, blob.bytes);
      }
    };
    await pull();
    t.deepEqual(registry.conversation(), [
      `HEAD /v2/${REPOSITORY}/manifests/latest`,
      `GET /v2/${REPOSITORY}/manifests/<app>`,
      `GET /v2/${REPOSITORY}/blobs/<app.config>`,
      `GET /v2/${REPOSITORY}/blobs/<app.layer0>`,
      `GET /v2/${REPOSITORY}/blobs/<app.layer1>`,
    ]);
    const parts = image.blobs.map(({ digest }) => `GET ${spelled(form, `blobs/${digest}`)}`);
    t.deepEqual(wire.lines, [
      `HEAD ${spelled(form, 'manifests/latest')}`,
      `GET ${spelled(form, `manifests/${image.manifest.digest}`)}`,
      ...parts,
    ]);
    registry.clear();
    wire.requests.length = 0;
    await settled(parent);
    await pull();
    t.deepEqual(registry.conversation(), [`HEAD /v2/${REPOSITORY}/manifests/latest`]);
    t.deepEqual(wire.lines, [`HEAD ${spelled(form, 'manifests/latest')}`]);
    t.deepEqual(other.conversation(), []);
  });

  test(`${form}: HEAD goes through, and fetches nothing`, async (t) => {
    const { registry, image, ask } = await startTiers(t, form);
    const [layer] = image.layers;
    const manifest = await ask(`/v2/${REPOSITORY}/manifests/latest`, { method: 'HEAD' });
    const blob = await ask(`/v2/${REPOSITORY}/blobs/${layer!.digest}`, { method: 'HEAD' });
    t.is(manifest.headers['docker-content-digest'], image.manifest.digest);
    t.is(manifest.headers['content-length'], String(image.manifest.size));
    t.is(manifest.headers['content-type'], image.manifest.mediaType);
    t.is(blob.headers['content-length'], String(layer!.size));
    t.deepEqual([manifest.status, blob.status], [200, 200]);
    t.deepEqual(registry.conversation(), [
      `HEAD /v2/${REPOSITORY}/manifests/latest`,
      `HEAD /v2/${REPOSITORY}/blobs/<app.layer0>`,
    ]);
  });

  test(`${form}: a range of a cold blob, and of one that is held`, async (t) => {
    const tiers = await startTiers(t, form);
    const { registry, child, wire, image } = tiers;
    const layer = image.layer(1);
    const headers = { range: 'bytes=500-599' };
    const cold = await get(blobUrl(tiers, layer), { headers });
    t.is(cold.status, 206);
    t.is(cold.headers['content-range'], 'bytes 500-599/2000');
    t.deepEqual(cold.body, layer.bytes.subarray(500, 600));
    await settled(child);
    const held = await get(blobUrl(tiers, layer), { headers: { range: 'bytes=-7' } });
    t.deepEqual([held.status, held.body], [206, layer.bytes.subarray(-7)]);
    t.deepEqual(wire.lines, [`GET ${spelled(form, `blobs/${layer.digest}`)}`]);
    t.deepEqual(registry.conversation(), [`GET /v2/${REPOSITORY}/blobs/<app.layer1>`]);
  });

  test(`${form}: a range far ahead of a blob that grows at both tiers is asked for beside it`, async (t) => {
    const tiers = await startTiers(t, form, { layers: [16 * MIB] });
    const { registry, wire, image } = tiers;
    const layer = image.layer(0);
    const gate = registry.hold(layer, { after: MIB });
    const whole = await open(blobUrl(tiers, layer));
    t.true((await whole.read(MIB)).equals(layer.bytes.subarray(0, MIB)));
    const near = await get(blobUrl(tiers, layer), { headers: { range: 'bytes=10-19' } });
    t.deepEqual(near.body, layer.bytes.subarray(10, 20));
    t.is(gate.waiting, 1);
    const start = 15 * MIB;
    const range = `bytes=${start}-${start + 99}`;
    const far = await get(blobUrl(tiers, layer), { headers: { range } });
    t.is(far.status, 206);
    t.deepEqual(far.body, layer.bytes.subarray(start, start + 100));
    t.false(gate.isOpen);
    gate.open();
    t.true((await whole.rest()).equals(layer.bytes.subarray(MIB)));
    const line = `GET ${spelled(form, `blobs/${layer.digest}`)}`;
    const granule = `bytes=${start}-${start + MIB / 4 - 1}`;
    const rest = `bytes=${start + MIB / 4}-${16 * MIB - 1}`;
    t.deepEqual(wire.lines, [line, `${line} ${granule}`, `${line} ${rest}`]);
    const asked = `GET /v2/${REPOSITORY}/blobs/<app.layer0>`;
    t.deepEqual(registry.conversation(), [asked, `${asked} ${granule}`, `${asked} ${rest}`]);
  });

  test(`${form}: a layer whose line breaks between the tiers goes on where it was, and the registry sends it once`, async (t) => {
    const tiers = await startTiers(t, form, { layers: [2 * MIB] });
    const { registry, wire, image } = tiers;
    const layer = image.layer(0);
    const gate = registry.hold(layer, { after: MIB });
    wire.cut(100_000);
    const answer = await open(blobUrl(tiers, layer));
    t.true((await answer.read(MIB)).equals(layer.bytes.subarray(0, MIB)));
    t.false(gate.isOpen);
    gate.open();
    t.true((await answer.rest()).equals(layer.bytes.subarray(MIB)));
    const line = `GET ${spelled(form, `blobs/${layer.digest}`)}`;
    t.deepEqual(wire.lines, [line, `${line} bytes=100000-${2 * MIB - 1}`]);
    t.deepEqual(registry.conversation(), [`GET /v2/${REPOSITORY}/blobs/<app.layer0>`]);
    t.is(registry.bytesSent, layer.size);
  });

  test(`${form}: twenty clients at each tier cost one transfer`, async (t) => {
    const tiers = await startTiers(t, form, { layers: [2 * MIB] });
    const { registry, child, parent, wire, image } = tiers;
    const layer = image.layer(0);
    const gate = registry.hold(layer, { after: MIB });
    const paths = [
      blobUrl(tiers, layer),
      `${parent.url}/v2/${HUB}/${REPOSITORY}/blobs/${layer.digest}`,
    ];
    const clients = Array.from({ length: 40 }, async (_, client) => open(paths[client % 2]!));
    const answers = await Promise.all(clients);
    t.false(gate.isOpen);
    gate.open();
    for (const body of await Promise.all(answers.map(async (answer) => answer.rest()))) {
      t.true(body.equals(layer.bytes));
    }
    const manifests = [
      `${child.url}/v2/${REPOSITORY}/manifests/latest`,
      `${parent.url}/v2/${HUB}/${REPOSITORY}/manifests/latest`,
    ];
    const pulls = Array.from({ length: 40 }, async (_, client) => get(manifests[client % 2]!));
    for (const { body } of await Promise.all(pulls)) t.deepEqual(body, image.manifest.bytes);
    t.deepEqual(
      registry.conversation(({ method }) => method === 'GET'),
      [`GET /v2/${REPOSITORY}/blobs/<app.layer0>`, `GET /v2/${REPOSITORY}/manifests/<app>`],
    );
    t.deepEqual(
      wire.lines.filter((line) => line.startsWith('GET')),
      [
        `GET ${spelled(form, `blobs/${layer.digest}`)}`,
        `GET ${spelled(form, `manifests/${image.manifest.digest}`)}`,
      ],
    );
  });

  test(`${form}: pages of tags are followed through both tiers`, async (t) => {
    const { registry, wire, image, ask } = await startTiers(t, form);
    const tags = Array.from({ length: 1500 }, (_, tag) => `v${String(tag).padStart(4, '0')}`);
    for (const tag of tags) registry.tag(REPOSITORY, tag, image.manifest);
    const all = ['latest', ...tags];
    const answer = await ask(`/v2/${REPOSITORY}/tags/list`);
    t.deepEqual(JSON.parse(answer.body.toString()), { name: REPOSITORY, tags: all });
    const next = form === 'by ns' ? `?n=1000&last=v0998&ns=${HUB}` : '?n=1000&last=v0998';
    const path = spelled(form, 'tags/list').replace(/\?.*/, '');
    t.deepEqual(wire.lines, [`GET ${spelled(form, 'tags/list', '?n=1000')}`, `GET ${path}${next}`]);
  });

  test(`${form}: a client's own pages keep the words in which it asked`, async (t) => {
    const { registry, image, ask, other } = await startTiers(t, form);
    for (const tag of ['a', 'b', 'c']) registry.tag(REPOSITORY, tag, image.manifest);
    for (const first of [
      `/v2/${REPOSITORY}/tags/list?n=3&ns=${HUB}`,
      `/v2/${HUB}/${REPOSITORY}/tags/list?n=3`,
      `/${HUB}/v2/${REPOSITORY}/tags/list?n=3`,
    ]) {
      const page = await ask(first);
      const link = /^<(.+)>; rel="next"$/.exec(String(page.headers['link']))?.[1];
      t.is(link, first.replace('n=3', 'n=3&last=c'));
      const last = await ask(link!);
      t.deepEqual(JSON.parse(last.body.toString()), { name: REPOSITORY, tags: ['latest'] });
      t.is(last.headers['link'], undefined);
    }
    t.deepEqual(other.conversation(), []);
  });

  test(`${form}: referrers come through both tiers, filtered or not`, async (t) => {
    const { registry, image, ask } = await startTiers(t, form);
    const [signature, sbom] = ['application/vnd.test.signature', 'application/vnd.test.sbom'].map(
      (artifactType) =>
        buildArtifact({ seed: artifactType, artifactType, subject: image.manifest }).manifest,
    );
    for (const manifest of [signature!, sbom!]) registry.addManifest(REPOSITORY, manifest);
    const list = async (query = ''): Promise<string[]> => {
      const { body } = await ask(`/v2/${REPOSITORY}/referrers/${image.manifest.digest}${query}`);
      const { manifests } = JSON.parse(body.toString()) as { manifests: { digest: string }[] };
      return manifests.map(({ digest }) => digest);
    };
    t.deepEqual(await list(), [signature!.digest, sbom!.digest].toSorted());
    t.deepEqual(await list('?artifactType=application/vnd.test.sbom'), [sbom!.digest]);
  });

  test(`${form}: with the registry gone both tiers serve what they hold, marked stale at the one that knows`, async (t) => {
    const { registry, parent, image, ask } = await startTiers(t, form);
    await ask(`/v2/${REPOSITORY}/manifests/latest`);
    for (const { digest } of image.blobs) await ask(`/v2/${REPOSITORY}/blobs/${digest}`);
    await registry.refuse();
    const cause = `${HUB}: no connection to ${registry.host} (ECONNREFUSED)`;
    const above = await get(`${parent.url}/v2/${HUB}/${REPOSITORY}/manifests/latest`);
    t.deepEqual(told(above), {
      status: 200,
      cache: 'entrepot; hit; detail=stale',
      age: '0',
      warning: staleWarning(cause),
    });
    const below = await ask(`/v2/${REPOSITORY}/manifests/latest`);
    t.deepEqual([below.status, below.body], [200, image.manifest.bytes]);
    for (const { digest, bytes } of image.blobs) {
      t.deepEqual((await ask(`/v2/${REPOSITORY}/blobs/${digest}`)).body, bytes);
    }
  });
}

test('with the parent gone the child serves what it holds, with a Warning', async (t) => {
  const { parent, wire, image, ask } = await startTiers(t, 'by ns');
  await ask(`/v2/${REPOSITORY}/manifests/latest`);
  await settled(parent);
  await parent.stop();
  const answer = await ask(`/v2/${REPOSITORY}/manifests/latest`);
  t.deepEqual(answer.body, image.manifest.bytes);
  const { status, cache } = told(answer);
  t.deepEqual([status, cache], [200, 'entrepot; hit; detail=stale']);
  t.regex(String(answer.headers['warning']), new RegExp(`no connection to ${wire.host}`));
});

test('a copy that is stale at the parent is marked stale by the child, held there or not', async (t) => {
  const { registry, parent, clock, ask } = await startTiers(t, 'by ns');
  await ask(`/v2/${REPOSITORY}/manifests/latest`);
  const second = buildImage({ seed: 'second', layers: [1000] });
  registry.addImage(REPOSITORY, 'second', second, { name: 'second' });
  await get(`${parent.url}/v2/${HUB}/${REPOSITORY}/manifests/second`);
  await registry.refuse();
  clock.advance(MINUTE);
  const cause = `${HUB}: no connection to ${registry.host} (ECONNREFUSED)`;
  const warning = staleWarning(`${HUB}: its mirror says: served from the mirror's copy: ${cause}`);
  const said = async (tag: string, method: 'GET' | 'HEAD'): Promise<unknown> => {
    const answer = told(await ask(`/v2/${REPOSITORY}/manifests/${tag}`, { method }));
    // Whether the parent asked once more or knew it.
    return { ...answer, warning: String(answer.warning).replace('down: ', '') };
  };
  const stale = { status: 200, cache: 'entrepot; hit; detail=stale', age: '60', warning };
  t.deepEqual(await said('latest', 'GET'), stale);
  t.deepEqual(await said('latest', 'HEAD'), stale);
  t.deepEqual(await said('second', 'GET'), { ...stale, cache: 'entrepot; fwd=miss; stored' });
  t.deepEqual(await said('second', 'GET'), stale);
  await registry.accept();
  // The parent answers from its copy once more, and hears behind that.
  await ask(`/v2/${REPOSITORY}/manifests/second`);
  await settled(parent);
  const fresh = await ask(`/v2/${REPOSITORY}/manifests/second`);
  t.deepEqual([told(fresh).age, told(fresh).warning], ['0', undefined]);
});

test('a copy at the parent that is older than the child lets pass does not stand in', async (t) => {
  const { registry, parent, clock, ask } = await startTiers(t, 'by ns', {
    childTags: { staleIfErrorMs: MINUTE },
  });
  await get(`${parent.url}/v2/${HUB}/${REPOSITORY}/manifests/latest`);
  await registry.refuse();
  clock.advance(2 * MINUTE);
  const refusal = refusalOf(await ask(`/v2/${REPOSITORY}/manifests/latest`));
  t.deepEqual([refusal['status'], refusal['code']], [502, 'UNAVAILABLE']);
});

test('a parent that is killed in the middle of a layer and comes back goes on, and so does the child', async (t) => {
  const storePath = await createTempFolder(t);
  const tiers = await startTiers(t, 'by ns', {
    layers: [2 * MIB],
    parent: { storePath, graceMs: 0 },
    child: { timing: { retryMs: 60 } },
  });
  const { registry, parent, wire, image } = tiers;
  const layer = image.layer(0);
  const gate = registry.hold(layer, { after: MIB });
  const answer = await open(blobUrl(tiers, layer));
  t.true((await answer.read(MIB)).equals(layer.bytes.subarray(0, MIB)));
  await parent.abandon();
  gate.open();
  const next = await startMirror(t, {
    storePath,
    upstreams: { 'other.example': { url: tiers.other.url }, [HUB]: { url: registry.url } },
    clock: tiers.clock,
  });
  wire.target = next.url;
  t.true((await answer.rest()).equals(layer.bytes.subarray(MIB)));
  const asked = `GET /v2/${REPOSITORY}/blobs/<app.layer0>`;
  t.deepEqual(registry.conversation(), [asked, `${asked} bytes=${MIB}-`]);
});

// Faults of the registry, told through both tiers

test('absence is absence through both tiers', async (t) => {
  const { ask, image } = await startTiers(t, 'by ns');
  const digest = `sha256:${'0'.repeat(64)}`;
  t.deepEqual(refusalOf(await ask(`/v2/${REPOSITORY}/manifests/none`)), {
    status: 404,
    code: 'MANIFEST_UNKNOWN',
    message: `${HUB} has no manifest none in ${REPOSITORY}`,
    detail: { upstream: HUB, reference: 'none' },
  });
  t.deepEqual(refusalOf(await ask(`/v2/${REPOSITORY}/blobs/${digest}`)), {
    status: 404,
    code: 'BLOB_UNKNOWN',
    message: `${HUB}/${REPOSITORY} has no blob ${digest}`,
    detail: { upstream: HUB, digest },
  });
  t.deepEqual(refusalOf(await ask('/v2/no/such/tags/list')), {
    status: 404,
    code: 'NAME_UNKNOWN',
    message: `${HUB} has no repository no/such`,
    detail: { upstream: HUB, name: 'no/such' },
  });
  t.is((await ask(`/v2/no/such/blobs/${image.layer(0).digest}`)).status, 404);
});

test('an upstream that the parent does not have is 404 at the child', async (t) => {
  const { parent, other, registry } = await startTiers(t, 'by ns');
  for (const upstream of [
    { url: parent.url, namespace: 'quay.io' },
    { url: `${parent.url}/quay.io` },
    { url: parent.url, prefix: 'quay.io' },
  ]) {
    const child = await startMirror(t, { upstreams: { 'quay.io': upstream } });
    const answer = await get(`${child.url}/v2/${REPOSITORY}/manifests/latest`);
    t.is(refusalOf(answer)['code'], 'MANIFEST_UNKNOWN');
    t.is(answer.status, 404);
  }
  t.deepEqual([...other.conversation(), ...registry.conversation()], []);
});

test('403 of the registry is 403 at the child, and says who refused', async (t) => {
  const { registry, wire, image, ask } = await startTiers(t, 'by ns');
  registry.status(/^\/v2\//, 403, always);
  t.deepEqual(refusalOf(await ask(`/v2/${REPOSITORY}/blobs/${image.layer(0).digest}`)), {
    status: 403,
    code: 'DENIED',
    message: `${HUB}: ${wire.host} denied access anonymously (403): DENIED: ${HUB}: ${registry.host} denied access anonymously (403): DENIED: denied`,
    detail: { upstream: HUB, fault: 'denied', upstreamStatus: 403 },
  });
});

test('429 of the registry is 429 at the child with the same pause, and the registry is asked once', async (t) => {
  const { registry, wire, image, ask } = await startTiers(t, 'by ns');
  registry.status(/^\/v2\//, 429, { ...always, headers: { 'Retry-After': '7' } });
  const answer = await ask(`/v2/${REPOSITORY}/blobs/${image.layer(0).digest}`);
  const { message, ...rest } = refusalOf(answer);
  t.deepEqual(rest, {
    status: 429,
    code: 'TOOMANYREQUESTS',
    retryAfter: '7',
    detail: { upstream: HUB, fault: 'rate-limited', upstreamStatus: 429 },
  });
  t.true(
    String(message).startsWith(
      `${HUB}: ${wire.host} limits the rate of requests (429): TOOMANYREQUESTS: ${HUB}: ${registry.host} limits the rate of requests (429)`,
    ),
    String(message),
  );
  t.is((await ask(`/v2/${REPOSITORY}/manifests/latest`)).status, 429);
  t.is(registry.requests.length, 1);
});

test('what an offline parent does not hold is 502 at the child with the reason, and nobody is dialled', async (t) => {
  const { registry, wire, image, ask } = await startTiers(t, 'by ns', {
    parent: { offline: true },
  });
  t.deepEqual(refusalOf(await ask(`/v2/${REPOSITORY}/blobs/${image.layer(0).digest}`)), {
    status: 502,
    code: 'UNAVAILABLE',
    message: `${HUB}: ${wire.host} answered 504: UNAVAILABLE: ${HUB}: this mirror is set offline and asks no upstream`,
    detail: { upstream: HUB, fault: 'failing', upstreamStatus: 504 },
  });
  t.is(registry.connections, 0);
});

test('what an offline parent lacks does not keep a child from what it holds', async (t) => {
  const storePath = await createTempFolder(t);
  const { registry, parent, clock, image } = await startTiers(t, 'by ns', {
    parent: { storePath },
  });
  await get(`${parent.url}/v2/${HUB}/${REPOSITORY}/manifests/latest`);
  await settled(parent);
  await parent.stop();
  const offline = await startMirror(t, {
    storePath,
    offline: true,
    upstreams: { [HUB]: { url: registry.url } },
    clock,
  });
  const child = await startMirror(t, {
    upstreams: { [HUB]: { url: offline.url, namespace: HUB } },
    timing: { breakerMs: 1_000 },
    clock,
  });
  t.is((await get(`${child.url}/v2/${REPOSITORY}/manifests/missing`)).status, 502);
  const held = await get(`${child.url}/v2/${REPOSITORY}/manifests/latest`);
  t.deepEqual([held.status, held.body], [200, image.manifest.bytes]);
});

// A parent of another make

test('a token for a repository behind a prefix is asked for by its whole name', async (t) => {
  const harbor = await FakeRegistry.start(t, { auth: { kind: 'bearer' } });
  const image = buildImage({ seed: 'app', layers: [1000] });
  harbor.addImage(`hub-proxy/${REPOSITORY}`, 'latest', image, { name: 'app' });
  const mirror = await startMirror(t, {
    upstreams: { [HUB]: { url: harbor.url, prefix: 'hub-proxy' } },
  });
  const answer = await get(`${mirror.url}/v2/${REPOSITORY}/manifests/latest`);
  t.deepEqual(answer.body, image.manifest.bytes);
  const tags = await get(`${mirror.url}/v2/${REPOSITORY}/tags/list`);
  t.deepEqual(JSON.parse(tags.body.toString()), { name: REPOSITORY, tags: ['latest'] });
  t.deepEqual(harbor.conversation(), [
    `HEAD /v2/hub-proxy/${REPOSITORY}/manifests/latest`,
    `GET token repository:hub-proxy/${REPOSITORY}:pull`,
    `HEAD /v2/hub-proxy/${REPOSITORY}/manifests/latest`,
    `GET /v2/hub-proxy/${REPOSITORY}/manifests/<app>`,
    `GET /v2/hub-proxy/${REPOSITORY}/tags/list?n=1000`,
  ]);
});

// Loops

interface Ring {
  readonly mirrors: readonly TestMirror[];
  /** `wires[i]` leads from mirror i to the next one. */
  readonly wires: readonly Wire[];
}

/** Each mirror has the next one as its upstream, the last one the first. */
async function startRing(
  t: ExecutionContext,
  size: number,
  timing: MirrorOptions['timing'] = {},
): Promise<Ring> {
  const wires = await Promise.all(Array.from({ length: size }, async () => Wire.start(t)));
  const mirrors = await Promise.all(
    wires.map(async ({ url }) => startMirror(t, { upstreams: { [HUB]: { url } }, timing })),
  );
  for (const [at, wire] of wires.entries()) wire.target = mirrors[(at + 1) % size]!.url;
  return { mirrors, wires };
}

const LOOP =
  'this request came through this mirror before: two mirrors have each other as upstream';
const BLOB = `sha256:${'a'.repeat(64)}`;

test('a mirror refuses what came through it before with 508, and asks nobody', async (t) => {
  const { mirrors, wires } = await startRing(t, 1);
  const [mirror] = mirrors;
  const answers: ClientAnswer[] = [];
  wires[0]!.gate = new Gate();
  const asked = get(`${mirror!.url}/v2/${REPOSITORY}/blobs/${BLOB}`);
  await wires[0]!.gate.arrived();
  const via = wires[0]!.requests[0]?.via ?? '';
  for (const path of [
    `/v2/${REPOSITORY}/manifests/latest`,
    `/v2/${REPOSITORY}/blobs/${BLOB}`,
    `/v2/${REPOSITORY}/tags/list`,
    `/v2/${REPOSITORY}/referrers/${BLOB}`,
    '/v2/',
  ]) {
    answers.push(await get(`${mirror!.url}${path}`, { headers: { Via: via } }));
    answers.push(await get(`${mirror!.url}${path}`, { headers: { Via: `1.1 x, ${via}, 1.0 y` } }));
  }
  for (const [at, answer] of answers.entries()) {
    t.deepEqual(refusalOf(answer), {
      status: 508,
      code: 'UNAVAILABLE',
      message: LOOP,
      detail: { via: at % 2 === 0 ? via : `1.1 x, ${via}, 1.0 y` },
    });
  }
  t.is(wires[0]!.requests.length, 1);
  wires[0]!.gate.open();
  t.is((await asked).status, 508);
});

for (const size of [1, 2, 3]) {
  test(`a ring of ${size}: the client gets 508 with the reason, each mirror is asked once, and nothing is left running`, async (t) => {
    const { mirrors, wires } = await startRing(t, size);
    const [first] = mirrors;
    const reason = `${HUB}: ${wires[0]!.host} found the request going in a loop (508)`;
    const detail = { upstream: HUB, fault: 'bad-response', upstreamStatus: 508 };
    for (const path of [
      'manifests/latest',
      `manifests/${BLOB}`,
      `blobs/${BLOB}`,
      'tags/list',
      `referrers/${BLOB}`,
    ]) {
      for (const wire of wires) wire.requests.length = 0;
      const answer = await get(`${first!.url}/v2/${REPOSITORY}/${path}`);
      const { message, ...rest } = refusalOf(answer);
      t.deepEqual(rest, { status: 508, code: 'UNAVAILABLE', detail });
      t.true(String(message).startsWith(reason), String(message));
      // The words of the mirror that saw it come with every answer that has a body.
      const isList = path.startsWith('referrers');
      if (size === 1 && path !== 'manifests/latest' && !isList) {
        t.is(message, `${reason}: UNAVAILABLE: ${LOOP}`);
      }
      // Without referrers there may be a fallback tag to ask for.
      if (!isList) {
        const asked = wires.map(({ requests }) => requests.length);
        t.deepEqual(
          asked,
          wires.map(() => 1),
          path,
        );
      }
    }
    t.deepEqual(
      await settled(...mirrors),
      mirrors.map(() => IDLE),
    );
    t.is((await get(`${first!.url}/v2/`)).status, 200);
  });
}

test('each mirror of a ring adds itself to the chain', async (t) => {
  const { mirrors, wires } = await startRing(t, 3);
  await get(`${mirrors[0]!.url}/v2/${REPOSITORY}/blobs/${BLOB}`);
  const [first, second, third] = wires.map(({ requests }) => requests[0]?.via ?? '');
  t.regex(first!, /^1\.1 entrepot-[0-9a-f]{12}$/);
  t.regex(second!, /^1\.1 entrepot-[0-9a-f]{12}, 1\.1 entrepot-[0-9a-f]{12}$/);
  t.true(second!.startsWith(`${first!}, `));
  t.true(third!.startsWith(`${second!}, `));
});

for (const path of ['manifests/latest', `manifests/${BLOB}`, `blobs/${BLOB}`, 'tags/list']) {
  test(`two clients that ask both mirrors of a loop for ${path} at once are refused, and nobody waits for the other`, async (t) => {
    const { mirrors, wires } = await startRing(t, 2);
    const gates = wires.map((wire) => (wire.gate = new Gate()));
    const asking = mirrors.map(async ({ url }) => get(`${url}/v2/${REPOSITORY}/${path}`));
    await Promise.all(gates.map(async (gate) => gate.arrived()));
    for (const gate of gates) gate.open();
    for (const answer of await Promise.all(asking)) {
      const detail = { upstream: HUB, fault: 'bad-response', upstreamStatus: 508 };
      t.like(refusalOf(answer), { status: 508, code: 'UNAVAILABLE', detail });
    }
    // One for the client, and one for the other mirror.
    for (const wire of wires) {
      t.deepEqual(
        wire.requests.map(({ via }) => via?.split(',').length),
        [1, 2],
      );
    }
  });
}

test('a mirror asks once for all mirrors below it that ask at once', async (t) => {
  const { registry, parent, ask: one } = await startTiers(t, 'by ns');
  const other = await startMirror(t, {
    upstreams: { [HUB]: { url: parent.url, namespace: HUB } },
  });
  const gate = registry.hold('latest', { before: 'headers' });
  const path = `/v2/${REPOSITORY}/manifests/latest`;
  const both = arrivals(parent.url, 2);
  const asking = Promise.all([one(path), get(`${other.url}${path}`)]);
  await Promise.all([both, gate.arrived()]);
  gate.open();
  for (const { status } of await asking) t.is(status, 200);
  t.deepEqual(registry.conversation(), [
    `HEAD /v2/${REPOSITORY}/manifests/latest`,
    `GET /v2/${REPOSITORY}/manifests/<app>`,
  ]);
});

test('mirrors that have each other as upstream for different registries work', async (t) => {
  const registries = [await FakeRegistry.start(t), await FakeRegistry.start(t)];
  const image = buildImage({ seed: 'app', layers: [1000] });
  for (const registry of registries)
    registry.addImage(REPOSITORY, 'latest', image, { name: 'app' });
  const wires = [await Wire.start(t), await Wire.start(t)];
  const [here, there] = [
    await startMirror(t, {
      upstreams: {
        'a.example': { url: registries[0]!.url },
        'b.example': { url: wires[0]!.url, namespace: 'b.example' },
      },
    }),
    await startMirror(t, {
      upstreams: {
        'b.example': { url: registries[1]!.url },
        'a.example': { url: wires[1]!.url, namespace: 'a.example' },
      },
    }),
  ];
  wires[0]!.target = there.url;
  wires[1]!.target = here.url;
  for (const [mirror, name] of [
    [here, 'b.example'],
    [there, 'a.example'],
  ] as const) {
    const answer = await get(`${mirror.url}/v2/${REPOSITORY}/manifests/latest?ns=${name}`);
    t.deepEqual([answer.status, answer.body], [200, image.manifest.bytes]);
  }
});

// The Via header

test('the chain goes to the registry, and not to its storage', async (t) => {
  const registry = await FakeRegistry.start(t, { redirectBlobs: 307, auth: { kind: 'bearer' } });
  const blob = registry.addBlob(REPOSITORY, buildBlob(1, 1000));
  const mirror = await startMirror(t, {
    upstreams: { [HUB]: { url: registry.url } },
  });
  const headers = { Via: '1.0 fred, HTTP/1.1 p.example.net:8080 (a proxy)' };
  await get(`${mirror.url}/v2/${REPOSITORY}/blobs/${blob.digest}`, { headers });
  t.deepEqual(
    registry.requests.map(({ origin, headers: { via } }) => [
      origin,
      String(via).replace(/entrepot-[0-9a-f]{12}$/, 'entrepot'),
    ]),
    [
      ['registry', `${headers.Via}, 1.1 entrepot`],
      ['token', 'undefined'],
      ['registry', `${headers.Via}, 1.1 entrepot`],
      ['storage', 'undefined'],
    ],
  );
});

const VIAS: [claim: string, via: string | string[]][] = [
  ['nothing but commas', ', ,, ,'],
  ['a hop without a name', '1.1'],
  ['the name of the product', '1.1 entrepot'],
  ['a pseudonym of the same form', '1.1 entrepot-000000000000'],
  ['a comment that is not closed', '1.1 a (b, c'],
  ['several lines', ['1.1 a', '1.1 b']],
  ['bytes beyond ASCII', '1.1 \u00e9\u00ff'],
  ['forty hops', Array.from({ length: 40 }, () => '1.1 entrepot-0123456789ab').join(', ')],
];

for (const [claim, via] of VIAS) {
  test(`a Via with ${claim} does no harm`, async (t) => {
    const registry = await FakeRegistry.start(t);
    const image = buildImage({ seed: 'app', layers: [1000] });
    registry.addImage(REPOSITORY, 'latest', image);
    const mirror = await startMirror(t, {
      upstreams: { [HUB]: { url: registry.url } },
    });
    const answer = await get(`${mirror.url}/v2/${REPOSITORY}/manifests/latest`, {
      headers: { Via: via },
    });
    t.deepEqual([answer.status, answer.body], [200, image.manifest.bytes]);
  });
}

test('a Via that is longer than any chain of mirrors is 400, and nobody is asked', async (t) => {
  const registry = await FakeRegistry.start(t);
  const mirror = await startMirror(t, {
    upstreams: { [HUB]: { url: registry.url } },
  });
  for (const path of [`/v2/${REPOSITORY}/manifests/latest`, `/v2/${REPOSITORY}/tags/list`]) {
    const answer = await get(`${mirror.url}${path}`, {
      headers: { Via: `1.1 ${'a'.repeat(2045)}` },
    });
    t.deepEqual(refusalOf(answer), {
      status: 400,
      code: 'UNSUPPORTED',
      message: 'a Via header of more than 2048 characters',
    });
  }
  t.deepEqual(registry.conversation(), []);
});
