/**
 * Every route to content × verb × way of addressing × identity × rule, where it is held, cold or out of reach,
 * beside an evaluator that knows only who may what: what it refuses is told apart by nothing and asks for
 * nothing, what it allows is answered. All of it would be a quarter of a million requests: for those who
 * are told apart most each combination is asked, and of the rest one way in turn.
 */
import { writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { Agent as TlsAgent } from 'node:https';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { issueCertificates, type KeyPair } from '../helpers/certificate.ts';
import { get, type ClientAnswer } from '../helpers/client.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { watchRoutes } from '../helpers/running-routes.ts';
import { countReads } from './count-reads.ts';
import { identitiesOf } from './identities.ts';
import { lasting, ROUTES, WAYS } from './requests.ts';
import {
  basic,
  bearer,
  HUB,
  KINDS,
  mayDo,
  OTHER,
  scopesOf,
  startWorld,
  type Identity,
  type Kind,
  type World,
} from './world.ts';

/** For these each combination is asked. */
const TOLD_APART = [
  'nobody',
  'bob',
  'alice',
  'alice by a token for another one',
  'API token',
  'certificate',
];

interface Case {
  readonly identity: Identity;
  readonly who: string;
  readonly method: 'GET' | 'HEAD';
  readonly kind: Kind;
  readonly isThere: boolean;
  readonly route: string;
  readonly way: string;
}

/** Pseudo-random, the same every time. */
function* turns(): Generator<number> {
  for (let state = 1; ;) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    yield state >>> 8;
  }
}

function* casesOf(identities: Readonly<Record<string, Identity>>): Generator<Case> {
  const turn = turns();
  const pick = <Item>(items: readonly Item[]): Item => items[turn.next().value! % items.length]!;
  const ways = Object.keys(WAYS);
  for (const [who, identity] of Object.entries(identities)) {
    for (const kind of KINDS) {
      for (const route of Object.keys(ROUTES)) {
        const common = { who, identity, kind, route };
        if (!TOLD_APART.includes(who)) {
          const [method, isThere] = [pick(['GET', 'HEAD'] as const), pick([true, true, false])];
          yield { ...common, method, isThere, way: pick(ways) };
          continue;
        }
        for (const method of ['GET', 'HEAD'] as const) {
          for (const isThere of [true, false])
            yield { ...common, method, isThere, way: pick(ways) };
        }
      }
      for (const way of TOLD_APART.includes(who) ? ways : []) {
        const route = pick(Object.keys(ROUTES));
        yield { who, identity, kind, route, way, method: 'GET', isThere: pick([true, false]) };
      }
    }
  }
}

/** The naive evaluator. */
function expected({ identity, kind, route, way }: Case): 'open' | 'private' | 401 | 404 {
  const { upstream } = WAYS[way]!;
  const { verb } = ROUTES[route]!;
  if (mayDo('nobody', upstream, kind, verb)) return 'open';
  if (mayDo('inside', upstream, kind, verb) && identity.who === 'inside') return 'private';
  if (identity.who === 'nobody' || identity.who === 'inside' || identity.isNarrow) return 401;
  return mayDo(identity.who, upstream, kind, verb) ? 'private' : 404;
}

function nameOf({ kind, isThere }: Case): string {
  return `${kind}/${isThere ? 'here1' : 'away1'}`;
}

async function ask(world: World, each: Case, agent: Agent): Promise<ClientAnswer> {
  const { upstream, path, headers } = WAYS[each.way]!;
  const { below, headers: more } = ROUTES[each.route]!;
  return get(world.mirror.url, {
    method: each.method,
    path: path(nameOf(each), below(world, upstream, each.kind)),
    headers: { accept: '*/*', ...headers, ...more, ...each.identity.headers },
    agent,
  });
}

/** Of a refusal all that a client sees, without what it said itself and what changes with each answer. */
function seenOf({ status, headers, body }: ClientAnswer, each: Case): string {
  const { upstream } = WAYS[each.way]!;
  const told = JSON.stringify([status, lasting(headers), String(body)]);
  return told
    .replaceAll(nameOf(each), 'NAME')
    .replaceAll(upstream, 'UPSTREAM')
    .replaceAll(upstream.replace(':', '_'), 'UPSTREAM')
    .replaceAll(/realm=\\"https?:\/\/[^/]+\//g, 'realm=\\"http://HOST/')
    .replaceAll(/"content-length":"\d+"/g, '"content-length":"N"');
}

/** All that may stand in a refusal. */
const REFUSAL_HEADERS = new Set(
  'cache-control connection content-length content-type date keep-alive oci-namespace vary www-authenticate x-request-id'.split(
    ' ',
  ),
);

function checkRefusal(t: ExecutionContext, answer: ClientAnswer, each: Case, told: string): void {
  const { status, headers, body } = answer;
  // Clients of tokens take no colon in the name.
  const canonical = `${WAYS[each.way]!.upstream.replace(':', '_')}/${nameOf(each)}`;
  const outcome = expected(each);
  t.is(status, outcome as number, told);
  t.is(headers['cache-control'], outcome === 401 ? 'no-store' : 'private, no-store', told);
  t.is(headers.vary, 'Authorization', told);
  t.deepEqual(
    Object.keys(headers).filter((name) => !REFUSAL_HEADERS.has(name)),
    [],
    told,
  );
  const isShort = 'authorization' in each.identity.headers ? ',error="insufficient_scope"' : '';
  const challenge = new RegExp(
    `^Bearer realm="https?://[^/"]+/token",service="entrepot-[0-9a-f]{8}",scope="repository:${canonical}:pull"${isShort}$`,
  );
  if (outcome === 401) t.regex(String(headers['www-authenticate']), challenge, told);
  else t.is(headers['www-authenticate'], undefined, told);
  if (each.method === 'HEAD') return;
  const { errors } = JSON.parse(String(body)) as { errors: { code: string }[] };
  t.is(errors[0]?.code, outcome === 401 ? 'UNAUTHORIZED' : 'NAME_UNKNOWN', told);
}

/** What is allowed and there: `undefined` where neither this mirror nor anybody else has it. */
function checkAllowed(
  t: ExecutionContext,
  { status, headers, body }: ClientAnswer,
  { each, world, isOutOfReach }: { each: Case; world: World; isOutOfReach: boolean },
): void {
  const { method, kind, route, way } = each;
  const { upstream } = WAYS[way]!;
  const told = describe(each, status);
  if (expected(each) === 'private')
    t.regex(String(headers['cache-control']), /private|no-store/, told);
  else t.notRegex(String(headers['cache-control']), /private/, told);
  t.is(headers['www-authenticate'], undefined, told);
  if (isOutOfReach) {
    t.true([200, 404, 503, 504].includes(status), told);
    return;
  }
  t.is(status, route === 'range' && method === 'GET' ? 206 : 200, told);
  if (method === 'HEAD') return;
  const image = world.image(upstream, kind);
  const { bytes } = route.startsWith('manifest') ? image.manifest : image.layer(0);
  if (route === 'range') t.deepEqual(body, bytes.subarray(10, 20), told);
  else if (route === 'tags') t.true(String(body).includes('"v1"'), told);
  else if (route === 'referrers' || route === 'fallback tag') {
    t.true(String(body).includes(world.attached(upstream, kind).manifest.digest), told);
  } else t.deepEqual(body, bytes, told);
}

function describe(each: Case, status: number): string {
  return `${each.who}: ${each.method} ${each.route} of ${nameOf(each)} by ${each.way}: ${status}`;
}

/** All that exists, fetched by who may. */
async function hold(world: World, { keeper }: Readonly<Record<string, Identity>>): Promise<void> {
  for (const upstream of [HUB, OTHER]) {
    for (const kind of KINDS) {
      const more = world.attached(upstream, kind);
      const other = [more.manifest, ...more.blobs, ...world.image(upstream, kind).blobs];
      const paths = [
        ...Object.values(ROUTES).map(({ below }) => below(world, upstream, kind)),
        ...other.map(({ digest }, place) => `${place === 0 ? 'manifests' : 'blobs'}/${digest}`),
      ];
      for (const path of paths) {
        await get(`${world.mirror.url}/v2/${upstream}/${kind}/here1/${path}`, {
          headers: { accept: '*/*', ...keeper!.headers },
        });
      }
    }
  }
  await world.mirror.idle();
}

const STATES = {
  cold: { isHeld: false, isOffline: false },
  held: { isHeld: true, isOffline: false },
  'offline, held': { isHeld: true, isOffline: true },
  'offline, not held': { isHeld: false, isOffline: true },
};

for (const [state, { isHeld, isOffline }] of Object.entries(STATES)) {
  test(`${state}: what rules allow is answered, and nothing else is told or asked for`, async (t) => {
    t.timeout(300_000);
    const running = watchRoutes();
    let world = await startWorld(t);
    const identities = await identitiesOf(world);
    if (isHeld) await hold(world, identities);
    if (isOffline) world = await world.goOffline();
    const { routes, others } = running.clients();
    const undecided = routes.filter((each) => each.startsWith('GET …'));
    t.deepEqual([...new Set(Object.values(ROUTES).map(({ of }) => of))].toSorted(), undecided);
    // What begins and ends each request, what routes to content, and what answers the rest.
    t.is(others, 3);
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    t.teardown(() => agent.destroy());
    const cases = [...casesOf(identities)];
    const isRefused = (each: Case): boolean => typeof expected(each) === 'number';

    for (const registry of Object.values(world.registries)) registry.clear();
    const reads = countReads(world.mirror.server);
    const seen = new Map<string, Set<string>>();
    await inTurns(cases.filter(isRefused), async (each) => {
      const answer = await ask(world, each, agent);
      checkRefusal(t, answer, each, describe(each, answer.status));
      const isShown = 'authorization' in each.identity.headers;
      const key = JSON.stringify([expected(each), each.method, isShown]);
      seen.set(key, (seen.get(key) ?? new Set()).add(seenOf(answer, each)));
    });
    // Whatever is refused looks the same, whether it is there or not, and whatever was asked for.
    t.deepEqual(
      [...seen].map(([key, { size }]) => [key, size]),
      [...seen].map(([key]) => [key, 1]),
    );
    t.is(seen.size, 6);
    t.deepEqual(
      Object.values(world.registries).flatMap((registry) => registry.conversation()),
      [],
    );
    t.deepEqual(reads(), []);

    const isOutOfReach = isOffline && !isHeld;
    await inTurns(
      cases.filter((each) => !isRefused(each) && each.isThere),
      async (each) => {
        checkAllowed(t, await ask(world, each, agent), { each, world, isOutOfReach });
      },
    );
    await world.mirror.idle();
    // The other half of the counting: those that are let in ask.
    t.true(reads().length > 0);
  });
}

test('over TLS, by certificates: what rules allow is answered, and nothing else is told or asked for', async (t) => {
  t.timeout(300_000);
  const { ca, issued } = await issueCertificates({
    server: { commonName: 'localhost' },
    builder: named('builder'),
    stranger: named('stranger'),
  });
  const other = await issueCertificates({ builder: named('builder') });
  const folder = await createTempFolder(t);
  const place = (name: string, contents: Buffer): string => {
    writeFileSync(join(folder, name), contents);
    return join(folder, name);
  };
  const world = await startWorld(t, {
    cert: place('server.crt', issued.server.cert),
    key: place('server.key', issued.server.key),
    ca: place('clients.crt', ca),
  });
  const agentOf = (shown?: KeyPair): Agent => {
    const agent = new TlsAgent({ ...shown, ca, servername: 'localhost', keepAlive: true });
    t.teardown(() => agent.destroy());
    return agent;
  };
  const agents: Readonly<Record<string, Agent>> = {
    nobody: agentOf(),
    certificate: agentOf(issued.builder),
    'certificate beside a wrong password': agentOf(issued.builder),
    'certificate of another one': agentOf(issued.stranger),
    'certificate of another authority': agentOf(other.issued.builder),
    'token of a certificate': agentOf(),
  };
  const scope = scopesOf((upstream, repository) => `${upstream}/${repository}`)
    .map((each) => `scope=${encodeURIComponent(each)}`)
    .join('&');
  const { body } = await get(`${world.mirror.url}/token?${scope}`, {
    agent: agents['certificate']!,
  });
  const { token } = JSON.parse(String(body)) as { token: string };
  const cases = [
    ...casesOf({
      nobody: { headers: {}, who: 'nobody' },
      certificate: { headers: {}, who: 'ci' },
      'certificate beside a wrong password': { headers: basic('alice', 'wrong'), who: 'ci' },
      'certificate of another one': { headers: {}, who: 'stranger' },
      'certificate of another authority': { headers: {}, who: 'nobody' },
      'token of a certificate': { headers: bearer(token), who: 'ci', isToken: true },
    }),
  ];
  const reads = countReads(world.mirror.server);
  await inTurns(cases, async (each) => {
    if (typeof expected(each) !== 'number') return;
    const answer = await ask(world, each, agents[each.who]!);
    checkRefusal(t, answer, each, describe(each, answer.status));
  });
  t.deepEqual(
    Object.values(world.registries).flatMap((registry) => registry.conversation()),
    [],
  );
  t.deepEqual(reads(), []);
  await inTurns(cases, async (each) => {
    if (typeof expected(each) === 'number' || !each.isThere) return;
    const answer = await ask(world, each, agents[each.who]!);
    checkAllowed(t, answer, { each, world, isOutOfReach: false });
  });
});

function named(commonName: string) {
  return { commonName, names: [], extensions: ['extendedKeyUsage=clientAuth'] };
}

/** Eight at a time. */
async function inTurns(cases: readonly Case[], work: (each: Case) => Promise<void>): Promise<void> {
  const rest = cases.values();
  const workers = Array.from({ length: 8 }, async () => {
    for (const each of rest) await work(each);
  });
  await Promise.all(workers);
}
