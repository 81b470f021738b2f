/**
 * Every kind of request × verb × way of addressing × identity × repository, beside an evaluator that knows
 * only the rules: what it refuses is told apart by nothing, what it allows is answered.
 */
import { hashSync } from '@node-rs/bcrypt';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { get, type ClientAnswer } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import { createTempFolder, startMirror, type TestMirror } from '../helpers/mirror.ts';

const HUB = 'hub.example';
const OTHER = 'other.example';
const IMAGES = new Map<string, Image>(
  ['open/a', 'team/b', 'closed/c'].map((name) => [name, buildImage({ seed: name, layers: [500] })]),
);

/** What each identity may, in the plainest words. */
const MAY: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  nobody: { 'open/a': ['pull'] },
  foreign: { 'open/a': ['pull'] },
  bob: { 'open/a': ['pull'] },
  alice: { 'open/a': ['pull'], 'team/b': ['pull', 'list'] },
  'alice by token': { 'open/a': ['pull'], 'team/b': ['pull', 'list'] },
};

const RULES = [
  { who: ['anonymous'], may: ['pull' as const], images: [`${HUB}/open/**`] },
  { who: ['user:al*'], may: ['pull' as const, 'list' as const], images: [`${HUB}/team/*`] },
  // Of another registry: equal names are other repositories.
  { who: ['anonymous'], may: ['pull' as const, 'list' as const], images: [`${OTHER}/**`] },
];

interface Route {
  readonly verb: 'pull' | 'list';
  readonly below: (image: Image) => string;
  readonly headers?: Readonly<Record<string, string>>;
}

const ROUTES: Readonly<Record<string, Route>> = {
  'manifest by tag': { verb: 'pull', below: () => 'manifests/v1' },
  'manifest by digest': { verb: 'pull', below: ({ manifest }) => `manifests/${manifest.digest}` },
  blob: { verb: 'pull', below: (image) => `blobs/${image.layer(0).digest}` },
  range: {
    verb: 'pull',
    below: (image) => `blobs/${image.layer(0).digest}`,
    headers: { range: 'bytes=0-9' },
  },
  referrers: { verb: 'pull', below: ({ manifest }) => `referrers/${manifest.digest}` },
  tags: { verb: 'list', below: () => 'tags/list' },
};

/** The ways to say of which registry a repository is. */
const WAYS: Readonly<
  Record<
    string,
    (name: string, below: string) => { path: string; headers?: Record<string, string> }
  >
> = {
  default: (name, below) => ({ path: `/v2/${name}/${below}` }),
  ns: (name, below) => ({ path: `/v2/${name}/${below}?ns=${HUB}` }),
  header: (name, below) => ({ path: `/v2/${name}/${below}`, headers: { 'oci-namespace': HUB } }),
  path: (name, below) => ({ path: `/v2/${HUB}/${name}/${below}` }),
  prefix: (name, below) => ({ path: `/${HUB}/v2/${name}/${below}` }),
  host: (name, below) => ({ path: `/v2/${name}/${below}`, headers: { host: 'hub.mirror' } }),
};

async function start(t: ExecutionContext): Promise<TestMirror> {
  const registry = await FakeRegistry.start(t);
  for (const [name, image] of IMAGES) registry.addImage(name, 'v1', image);
  const file = join(await createTempFolder(t), 'htpasswd');
  const lines = ['alice', 'bob'].map((user) => `${user}:${hashSync(user, 4)}\n`);
  writeFileSync(file, lines.join(''));
  const upstreams = {
    [HUB]: { url: registry.url, hosts: ['hub.mirror'] },
    [OTHER]: { url: registry.url },
  };
  const access = { token: { ttl: 300_000 }, htpasswd: { file }, rules: RULES };
  return startMirror(t, { upstreams, access });
}

function basic(user: string, password: string): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
}

async function identities(mirror: TestMirror): Promise<Record<string, Record<string, string>>> {
  const names = [...IMAGES.keys()].flatMap((name) => [name, `${name}-absent`]);
  const scopes = names.map((name) => `scope=repository:${HUB}/${name}:pull`);
  const { body } = await get(`${mirror.url}/token?service=x&${scopes.join('&')}`, {
    headers: basic('alice', 'alice'),
  });
  const { token } = JSON.parse(String(body)) as { token: string };
  return {
    nobody: {},
    foreign: basic('hub-user', 'secret of the hub'),
    bob: basic('bob', 'bob'),
    alice: basic('alice', 'alice'),
    'alice by token': { authorization: `Bearer ${token}` },
  };
}

/** Of a refusal: the same for what is there and what is not. */
function refusalOf({ status, headers, body }: ClientAnswer, name: string): unknown[] {
  const { 'cache-control': cache, 'content-type': type, 'docker-content-digest': digest } = headers;
  return [status, cache, type, digest, String(body).replaceAll(name, 'NAME')];
}

for (const state of ['cold', 'held']) {
  test(`${state}: what rules allow is answered, and nothing else tells that it is there`, async (t) => {
    t.timeout(120_000);
    const mirror = await start(t);
    const all = await identities(mirror);
    if (state === 'held') await holdAll(mirror);
    for (const [who, shown] of Object.entries(all)) {
      for (const [name, image] of IMAGES) {
        for (const [what, { verb, below, headers: more }] of Object.entries(ROUTES)) {
          for (const [way, address] of Object.entries(WAYS)) {
            for (const method of what === 'tags' || what === 'referrers'
              ? ['GET']
              : ['GET', 'HEAD']) {
              const { path, headers } = address(name, below(image));
              const request = {
                method,
                path,
                headers: { accept: '*/*', ...more, ...headers, ...shown },
              };
              const answer = await get(mirror.url, request);
              const told = `${who}: ${method} ${what} of ${name} by ${way}: ${answer.status}`;
              const isAllowed = MAY[who]?.[name]?.includes(verb) === true;
              if (isAllowed) t.true(answer.status === 200 || answer.status === 206, told);
              else {
                const absent = address(`${name}-absent`, below(image));
                const other = await get(mirror.url, { ...request, path: absent.path });
                t.is(answer.status, who === 'nobody' || who === 'foreign' ? 401 : 404, told);
                t.deepEqual(refusalOf(answer, name), refusalOf(other, `${name}-absent`), told);
              }
            }
          }
        }
      }
    }
    const lines = mirror.log.filter(({ msg }) => msg === 'request');
    const undecided = lines.filter(
      ({ kind, subject }) => kind !== 'token' && subject === undefined,
    );
    t.deepEqual(undecided, []);
  });
}

/** Fetched by somebody who may, so that all of it is in the store. */
async function holdAll(mirror: TestMirror): Promise<void> {
  for (const [name, image] of IMAGES) {
    for (const below of ['manifests/v1', ...image.blobs.map(({ digest }) => `blobs/${digest}`)]) {
      await get(`${mirror.url}/v2/${OTHER}/${name}/${below}`, { headers: { accept: '*/*' } });
    }
  }
  await mirror.idle();
}

test('the catalog lists what who asks may list', async (t) => {
  const mirror = await start(t);
  const all = await identities(mirror);
  const names = async (who: string): Promise<unknown> => {
    const { status, body } = await get(`${mirror.url}/v2/_catalog?ns=${HUB}`, {
      headers: all[who]!,
    });
    return status === 200
      ? (JSON.parse(String(body)) as { repositories: string[] }).repositories
      : status;
  };
  t.deepEqual(await names('alice'), ['team/b']);
  t.deepEqual(await names('bob'), []);
  t.deepEqual(await names('nobody'), []);
});
