/**
 * Every route of both doors, read from the running application, × verb × way to address a repository, for an image
 * that is refused and for what is always served, where it is cold, held, stale, and offline: no byte of a refused
 * manifest leaves, and none of a blob that only it lists. A new route has no decision until it stands here.
 */
import { Agent } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { WAYS } from '../access/requests.ts';
import { HUB, OTHER } from '../access/world.ts';
import { get, type ClientAnswer, type GetOptions } from '../helpers/client.ts';
import { HOUR } from '../helpers/clock.ts';
import { fallbackTag, type Stored } from '../helpers/image.ts';
import { REPOSITORY } from '../helpers/scene.ts';
import { watchRoutes } from '../helpers/running-routes.ts';
import { DraftClient } from '../sync/bundle/draft-client.ts';
import { blobsOf, layoutOf, named, tarOf } from '../sync/bundle/layout-site.ts';
import {
  ELSEWHERE,
  startRefusedWorld,
  type Asks,
  type Content,
  type RefusedWorld,
} from './refused-world.ts';

interface Asked {
  /** As the running application has it. */
  readonly of: string;
  readonly below: (content: Content) => string;
  /** Of the content: whole, where it is served. */
  readonly bytes?: (content: Content) => Buffer;
  readonly headers?: (content: Content) => Readonly<Record<string, string>>;
}

const MANIFEST = 'GET …/manifests/…';
const BLOB = 'GET …/blobs/…';
const BYTES = { range: 'bytes=10-19' };

const REFUSED: Readonly<Record<string, Asked>> = {
  'index by tag': { of: MANIFEST, below: () => 'manifests/v1' },
  'index by digest': {
    of: MANIFEST,
    below: ({ index }) => `manifests/${index.manifest.digest}`,
  },
  'index that the client has': {
    of: MANIFEST,
    below: () => 'manifests/v1',
    headers: ({ index }) => ({ 'if-none-match': `"${index.manifest.digest}"` }),
  },
  'index, not from a cache': {
    of: MANIFEST,
    below: () => 'manifests/v1',
    headers: () => ({ 'cache-control': 'no-cache' }),
  },
  platform: { of: MANIFEST, below: ({ child }) => `manifests/${child.manifest.digest}` },
  'document about it': { of: MANIFEST, below: ({ sbom }) => `manifests/${sbom.manifest.digest}` },
  'something to run that is attached': {
    of: MANIFEST,
    below: ({ attached }) => `manifests/${attached.manifest.digest}`,
  },
  config: { of: BLOB, below: ({ child }) => `blobs/${child.config.digest}` },
  layer: { of: BLOB, below: ({ child }) => `blobs/${child.layer(0).digest}` },
  'range of a layer': {
    of: BLOB,
    below: ({ child }) => `blobs/${child.layer(0).digest}`,
    headers: () => BYTES,
  },
  'layer that the client has': {
    of: BLOB,
    below: ({ child }) => `blobs/${child.layer(0).digest}`,
    headers: ({ child }) => ({ 'if-none-match': `"${child.layer(0).digest}"` }),
  },
  'index as a blob': { of: BLOB, below: ({ index }) => `blobs/${index.manifest.digest}` },
  'platform as a blob': { of: BLOB, below: ({ child }) => `blobs/${child.manifest.digest}` },
  'bytes of a document about it': { of: BLOB, below: ({ sbom }) => `blobs/${sbom.layer.digest}` },
  'layer of what is attached': {
    of: BLOB,
    below: ({ attached }) => `blobs/${attached.layer(0).digest}`,
  },
};

/** In the order in which `cosign verify` and pulls ask. */
const SERVED: Readonly<Record<string, Asked>> = {
  tags: { of: 'GET …/tags/…', below: () => 'tags/list' },
  referrers: {
    of: 'GET …/referrers/…',
    below: ({ index }) => `referrers/${index.manifest.digest}`,
  },
  'fallback tag': {
    of: MANIFEST,
    below: ({ index }) => `manifests/${fallbackTag(index.manifest.digest)}`,
  },
  'tag of its signature': {
    of: MANIFEST,
    below: ({ classic }) => `manifests/${classic.tag}`,
    bytes: ({ classic }) => classic.manifest.bytes,
  },
  signature: {
    of: MANIFEST,
    below: ({ signature }) => `manifests/${signature.manifest.digest}`,
    bytes: ({ signature }) => signature.manifest.bytes,
  },
  'bytes of its signature': {
    of: BLOB,
    below: ({ signature }) => `blobs/${signature.blob.digest}`,
    bytes: ({ signature }) => signature.blob.bytes,
  },
  'image that is admitted': {
    of: MANIFEST,
    below: () => 'manifests/admitted',
    bytes: ({ admitted }) => admitted.manifest.bytes,
  },
  'layer of both': {
    of: BLOB,
    below: ({ shared }) => `blobs/${shared.digest}`,
    bytes: ({ shared }) => shared.bytes,
  },
};

/** The same bytes, where they are signed. */
const SIGNED: Readonly<Record<string, Asked>> = {
  index: {
    of: MANIFEST,
    below: () => 'manifests/v1',
    bytes: ({ index }) => index.manifest.bytes,
  },
  platform: {
    of: MANIFEST,
    below: ({ child }) => `manifests/${child.manifest.digest}`,
    bytes: ({ child }) => child.manifest.bytes,
  },
  layer: {
    of: BLOB,
    below: ({ child }) => `blobs/${child.layer(0).digest}`,
    bytes: ({ child }) => child.layer(0).bytes,
  },
};

interface State {
  readonly prepare: (world: RefusedWorld) => Promise<void>;
  /** What a refusal may be. */
  readonly refusals: readonly number[];
  readonly isServed: boolean;
}

const STATES: Readonly<Record<string, State>> = {
  cold: { prepare: async () => undefined, refusals: [403], isServed: true },
  held: { prepare: async (world) => world.hold(), refusals: [403], isServed: true },
  stale: {
    prepare: async (world) => {
      await world.hold();
      for (const registry of Object.values(world.registries)) await registry.refuse();
      world.clock.advance(2 * HOUR);
    },
    refusals: [403, 503],
    isServed: true,
  },
  'offline, held': {
    prepare: async (world) => {
      await world.hold();
      await world.goOffline();
    },
    refusals: [403],
    isServed: true,
  },
  'offline, not held': {
    prepare: async (world) => world.goOffline(),
    refusals: [403, 404, 504],
    isServed: false,
  },
};

/** What the rule is about, and what it keeps back and lets pass. */
interface Ruled {
  readonly refused: Readonly<Record<string, Asked>>;
  readonly served: Readonly<Record<string, Asked>>;
  /** Served in the other repository. */
  readonly elsewhere: Readonly<Record<string, Asked>>;
  readonly secretsOf: (content: Content) => Buffer[];
}

const OF_PLATFORM = [
  'platform',
  'config',
  'layer',
  'range of a layer',
  'layer that the client has',
];

const RULED: Readonly<Record<Asks, Ruled>> = {
  signedBy: { refused: REFUSED, served: SERVED, elsewhere: SIGNED, secretsOf },
  vulnerabilities: {
    refused: Object.fromEntries(
      [...OF_PLATFORM, 'platform as a blob'].map((what) => [what, REFUSED[what]!]),
    ),
    // It has nothing of its own in which something could be found.
    served: { index: SIGNED['index']!, ...SERVED },
    elsewhere: {},
    secretsOf: ({ child }) => [child.manifest.bytes, child.config.bytes, ...cutsOf(child)],
  },
};

function cutsOf(image: Content['child']): Buffer[] {
  const { bytes } = image.layer(0);
  return [0, 10, 50].map((at) => bytes.subarray(at, at + 10));
}

/** Parts of what may not leave; of documents all, since others begin as they do. */
function secretsOf({ index, child, sbom, attached }: Content): Buffer[] {
  const cuts = [child, attached].flatMap(cutsOf);
  const whole = [index.manifest, child.manifest, child.config, sbom.manifest, sbom.layer];
  return [...cuts, ...[...whole, attached.manifest].map(({ bytes }: Stored) => bytes)];
}

function isLeaking({ body }: Pick<ClientAnswer, 'body'>, secrets: readonly Buffer[]): boolean {
  return secrets.some((secret) => body.includes(secret));
}

interface Case {
  readonly repository: string;
  readonly what: string;
  readonly asked: Asked;
  readonly method: string;
  readonly way: string;
}

function* casesOf(repository: string, all: Readonly<Record<string, Asked>>): Generator<Case> {
  for (const way of Object.keys(WAYS)) {
    for (const [what, asked] of Object.entries(all)) {
      for (const method of ['GET', 'HEAD']) yield { repository, what, asked, method, way };
    }
  }
}

function startAsking(t: ExecutionContext, { mirror, contents }: RefusedWorld) {
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  t.teardown(() => agent.destroy());
  return async ({ repository, asked, method, way, what }: Case) => {
    const { upstream, path, headers } = WAYS[way]!;
    const content = contents[upstream]!;
    const answer = await get(mirror.url, {
      method,
      path: path(repository, asked.below(content)),
      headers: { accept: '*/*', ...headers, ...asked.headers?.(content) },
      agent,
    });
    const told = `${method} ${what} of ${repository} by ${way}: ${answer.status}`;
    return { answer, content, told };
  };
}

const CASES = Object.entries(STATES).flatMap(([name, state]) =>
  (['signedBy', 'vulnerabilities'] as const).map((asks) => ({ name, asks, ...state })),
);

for (const { name, asks, prepare, refusals, isServed } of CASES) {
  test(`${name}, by ${asks}: no byte of what is refused leaves by any route, verb or way; signatures and what is admitted do`, async (t) => {
    t.timeout(300_000);
    const running = watchRoutes();
    const ruled = RULED[asks];
    const world = await startRefusedWorld(t, asks);
    const { routes } = running.clients();
    const decided = [REFUSED, SERVED].flatMap((all) => Object.values(all).map(({ of }) => of));
    const contents = routes.filter((each) => each.startsWith('GET …'));
    t.deepEqual([...new Set(decided)].toSorted(), contents);
    await prepare(world);
    const ask = startAsking(t, world);
    const requireRefused = async (): Promise<void> => {
      for (const each of casesOf(REPOSITORY, ruled.refused)) {
        const { answer, content, told } = await ask(each);
        t.true(refusals.includes(answer.status), told);
        t.false(isLeaking(answer, ruled.secretsOf(content)), told);
        for (const header of ['docker-content-digest', 'etag', 'content-range', 'content-digest']) {
          t.is(answer.headers[header], undefined, `${told}: ${header}`);
        }
      }
    };
    await requireRefused();
    const served = [...casesOf(REPOSITORY, ruled.served), ...casesOf(ELSEWHERE, ruled.elsewhere)];
    for (const each of isServed ? served : []) {
      const { answer, content, told } = await ask(each);
      t.is(answer.status, 200, `${told} ${String(answer.body)}`);
      if (each.method === 'GET' && each.asked.bytes) {
        t.deepEqual(answer.body, each.asked.bytes(content), told);
      }
      if (each.what === 'tags' && each.method === 'GET')
        t.true(String(answer.body).includes('"v1"'));
    }
    // What was served beside it has opened nothing.
    await requireRefused();
  });
}

/** The client door's other routes, and what they are asked. */
const OTHERS: Readonly<Record<string, readonly string[]>> = {
  [String.raw`GET /^\/$/`]: ['/'],
  [String.raw`GET /^(?:\/(?!v2\/?$)[^/]+)?\/v2\/?$/`]: ['/v2/'],
  [String.raw`GET /^(?:\/(?!v2\/)([^/]+))?\/v2\/_catalog$/`]: ['/v2/_catalog'],
};

type AdminAsk = (content: Content, draft: string) => string;

/** Each route of the admin door: what it is asked of the refused image, or that it takes and gives no content. */
const ADMIN: Readonly<Record<string, AdminAsk | 'no content'>> = {
  'GET /healthz': () => '/healthz',
  'GET /readyz': () => '/readyz',
  'GET /metrics': () => '/metrics',
  'GET /api/v1/status': () => '/api/v1/status',
  'GET /api/v1/store': () => '/api/v1/store',
  'GET /api/v1/images': () => '/api/v1/images',
  'GET /api/v1/explain': () => `/api/v1/explain?image=${HUB}/${REPOSITORY}:v1`,
  'GET /api/v1/policy': () => `/api/v1/policy?image=${HUB}/${REPOSITORY}:v1`,
  'GET /api/v1/admission': () => `/api/v1/admission?image=${HUB}/${REPOSITORY}:v1`,
  'GET /api/v1/admission/refused': () => '/api/v1/admission/refused',
  'GET /api/v1/gc': () => '/api/v1/gc',
  'GET /api/v1/rm': () => `/api/v1/rm?image=${HUB}/${REPOSITORY}:v1`,
  'GET /api/v1/verify': () => '/api/v1/verify',
  'GET /api/v1/pins': () => '/api/v1/pins',
  'GET /api/v1/sync': () => '/api/v1/sync',
  'GET /api/v1/sync/run': () => '/api/v1/sync/run',
  'GET /api/v1/sync/run/images': () => '/api/v1/sync/run/images',
  'GET /api/v1/warm/:id': () => '/api/v1/warm/none',
  'GET /api/v1/inventory': () => '/api/v1/inventory',
  'GET /api/v1/bundles': () => '/api/v1/bundles',
  'GET /api/v1/bundles/drafts/:id': (_, draft) => `/api/v1/bundles/drafts/${draft}`,
  'GET /api/v1/bundles/drafts/:id/blobs/:digest': ({ child }, draft) =>
    `/api/v1/bundles/drafts/${draft}/blobs/${child.layer(0).digest}?start=0&end=100`,
  'GET /api/v1/tokens': () => '/api/v1/tokens',
  'POST /api/v1/gc': 'no content',
  'POST /api/v1/refresh': 'no content',
  'POST /api/v1/rm': 'no content',
  'POST /api/v1/verify': 'no content',
  'POST /api/v1/pins': 'no content',
  'DELETE /api/v1/pins': 'no content',
  'PUT /api/v1/in-use/:source': 'no content',
  'POST /api/v1/sync/plan': 'no content',
  'POST /api/v1/sync/run': 'no content',
  'POST /api/v1/warm': 'no content',
  'POST /api/v1/bundles/parts': 'no content',
  'POST /api/v1/bundles/drafts': 'no content',
  'POST /api/v1/bundles/layouts': 'no content',
  'DELETE /api/v1/bundles/drafts/:id': 'no content',
  'POST /api/v1/reload': 'no content',
  'POST /api/v1/tokens': 'no content',
  'DELETE /api/v1/tokens/:id': 'no content',
};

test('no byte of what is refused leaves by the other routes of either door, by a draft or after an import', async (t) => {
  const running = watchRoutes();
  const world = await startRefusedWorld(t);
  const { mirror, contents } = world;
  const content = contents[HUB]!;
  const others = running.clients().routes.filter((each) => !each.startsWith('GET …'));
  t.deepEqual(others, Object.keys(OTHERS).toSorted());
  t.deepEqual(running.admin().routes, Object.keys(ADMIN).toSorted());
  await world.hold();
  const drafts = new DraftClient(mirror);
  const { id, problems } = await drafts.report({ images: [`${HUB}/${REPOSITORY}:v1`] });
  t.is(problems.length, 1);
  // Beside it stands what is admitted, and one that is made of both.
  const { id: other } = await drafts.report({ images: [`${HUB}/${REPOSITORY}:admitted`] });
  const requireTight = async (url: string, options?: GetOptions): Promise<void> => {
    const answer = await get(url, { headers: { accept: '*/*' }, ...options });
    t.false(isLeaking(answer, secretsOf(content)), url);
  };
  for (const path of Object.values(OTHERS).flat()) await requireTight(`${mirror.url}${path}`);
  for (const draft of [id, other]) {
    for (const ask of Object.values(ADMIN)) {
      if (ask !== 'no content')
        await requireTight(`${mirror.server.adminUrl}${ask(content, draft)}`);
    }
  }
  const layout = await tarOf(layoutOf([named(content.child.manifest)], blobsOf(content.child)));
  const imported = await get(
    `${mirror.server.adminUrl}/api/v1/bundles/layouts?image=${HUB}/${REPOSITORY}:imported`,
    { method: 'POST', headers: { 'content-type': 'application/x-tar' }, body: layout },
  );
  t.is(imported.status, 422);
  const ask = startAsking(t, world);
  const all = { ...REFUSED, imported: { of: MANIFEST, below: () => 'manifests/imported' } };
  for (const each of casesOf(REPOSITORY, all)) {
    if (WAYS[each.way]!.upstream === OTHER) continue;
    const { answer, told } = await ask(each);
    t.true([403, 404].includes(answer.status), told);
    t.false(isLeaking(answer, secretsOf(content)), told);
  }
});
