import test, { type ExecutionContext } from 'ava';
import { get, open, type GetOptions } from '../helpers/client.ts';
import { Clock, MINUTE } from '../helpers/clock.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';
import { Scrape, type Labels } from '../helpers/scrape.ts';
import { until } from '../helpers/until.ts';
import { rule, syncConfig } from '../sync/rules.ts';

const HUB = 'hub.example';
const QUAY = 'quay.example';
const app = buildImage({ seed: 'app', layers: [1000, 20_000] });
const site = buildImage({ seed: 'site', layers: [3000] });

/** What clients were sent, as they counted it, by upstream and kind. */
class Clients {
  readonly bytes = {
    [`${HUB} manifest`]: 0,
    [`${HUB} blob`]: 0,
    [`${QUAY} manifest`]: 0,
    [`${QUAY} blob`]: 0,
  };
  requests = 0;
  pulls = 0;
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  async ask(upstream: string, path: string, options: GetOptions = {}): Promise<number> {
    const { status, body } = await get(this.#path(upstream, path), options);
    this.count(upstream, path, {
      method: options.method ?? 'GET',
      bytes: status < 300 ? body.length : 0,
    });
    return status;
  }

  async begin(upstream: string, path: string): Promise<() => Promise<void>> {
    const answer = await open(this.#path(upstream, path));
    return async () => {
      const { length } = await answer.rest();
      this.count(upstream, path, { method: 'GET', bytes: length });
    };
  }

  count(
    upstream: string,
    path: string,
    { method, bytes }: { method: string; bytes: number },
  ): void {
    const kind = path.includes('/manifests/') ? 'manifest' : 'blob';
    const name = `${upstream} ${kind}` as keyof Clients['bytes'];
    this.requests += 1;
    // No registry counts what it does not have.
    if (kind === 'manifest' && method === 'GET' && bytes > 0) this.pulls += 1;
    this.bytes[name] += bytes;
  }

  #path(upstream: string, path: string): string {
    return `${this.#url}/v2/${path}?ns=${upstream}`;
  }
}

/** What the upstream was asked for and sent, as it counted it itself. */
function sent(registry: FakeRegistry, kind = '(?:manifest|blob|referrer)') {
  const ofKind = new RegExp(`/${kind}s/`);
  const asked = registry.requests.filter(({ path }) => ofKind.test(path));
  const by = (method: string): number => asked.filter((each) => each.method === method).length;
  const good = asked.filter(({ status = 0 }) => status === 200 || status === 206);
  const bytes = good.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  return { GET: by('GET'), HEAD: by('HEAD'), bytes };
}

/** What it would count as pulls, as Docker Hub does. */
function pullsOf({ requests }: FakeRegistry): number {
  return requests.filter(
    ({ method, path, status }) =>
      method === 'GET' && path.includes('/manifests/') && status === 200,
  ).length;
}

async function setUp(t: ExecutionContext) {
  const clock = new Clock();
  const hub = await FakeRegistry.start(t, { now: clock.now });
  const quay = await FakeRegistry.start(t, { now: clock.now });
  hub.addImage('library/app', 'v1', app, { name: 'app' });
  quay.addImage('org/site', 'v1', site, { name: 'site' });
  const mirror = await startMirror(t, {
    clock,
    upstreams: {
      [HUB]: { url: hub.url, tags: { ttlMs: MINUTE, negativeTtlMs: MINUTE }, hydrate: 'blob' },
      [QUAY]: { url: quay.url, tags: { ttlMs: 10 * MINUTE } },
    },
    sync: syncConfig([rule('org/site', { image: `${QUAY}/org/site`, tags: { names: ['v1'] } })], {
      schedule: '0 0 30 2 *',
    }),
  });
  await mirror.logged('sync run');
  const scrape = async (): Promise<Scrape> => Scrape.of(mirror.server.adminUrl);
  return { clock, hub, quay, mirror, clients: new Clients(mirror.url), scrape };
}

test('hit ratios, bytes and counted pulls saved, and amplification are what upstreams and clients counted', async (t) => {
  const { clock, hub, quay, mirror, clients, scrape } = await setUp(t);
  const [first, second] = [app.layer(0), app.layer(1)];
  const manifest = 'library/app/manifests/v1';
  const [small, large] = [first, second].map(({ digest }) => `library/app/blobs/${digest}`);

  // Cold, held, by HEAD, by range, joined.
  t.is(await clients.ask(HUB, manifest), 200);
  t.is(await clients.ask(HUB, manifest), 200);
  t.is(await clients.ask(HUB, manifest, { method: 'HEAD' }), 200);
  const gate = hub.hold(second, { after: 500 });
  const leader = await clients.begin(HUB, large ?? '');
  await gate.arrived();
  const follower = await clients.begin(HUB, large ?? '');
  gate.open();
  await Promise.all([leader(), follower()]);
  await mirror.idle();
  t.is(await clients.ask(HUB, large ?? ''), 200);
  t.is(await clients.ask(HUB, large ?? '', { method: 'HEAD' }), 200);
  t.is(await clients.ask(HUB, large ?? '', { headers: { Range: 'bytes=100-299' } }), 206);
  // The rest of the image comes without being asked for.
  await until('hydration', () => mirror.server.hydrations() === 0);
  await mirror.idle();
  t.is(await clients.ask(HUB, small ?? ''), 200);
  // Asked again, stale, absent.
  clock.advance(2 * MINUTE);
  t.is(await clients.ask(HUB, manifest), 200);
  clock.advance(2 * MINUTE);
  hub.status('v1', 403, { times: Infinity });
  t.is(await clients.ask(HUB, manifest), 200);
  hub.heal();
  t.is(await clients.ask(HUB, 'library/app/manifests/none'), 404);
  t.is(await clients.ask(HUB, 'library/app/manifests/none'), 404);
  // What sync has brought.
  t.is(await clients.ask(QUAY, 'org/site/manifests/v1'), 200);
  t.is(await clients.ask(QUAY, `org/site/blobs/${site.layer(0).digest}`), 200);
  await mirror.idle();

  const now = await scrape();
  for (const [upstream, registry] of [
    [HUB, hub],
    [QUAY, quay],
  ] as const) {
    for (const kind of ['manifest', 'blob'] as const) {
      const labels: Labels = { upstream, kind };
      const { GET, HEAD, bytes } = sent(registry, kind);
      t.deepEqual(
        {
          GET: now.sum('upstream_requests_total', { ...labels, method: 'GET' }),
          HEAD: now.sum('upstream_requests_total', { ...labels, method: 'HEAD' }),
          bytes: now.sum('upstream_bytes_total', labels),
          toClients: now.sum('http_response_bytes_total', labels),
        },
        { GET, HEAD, bytes, toClients: clients.bytes[`${upstream} ${kind}`] },
        `${upstream} ${kind}`,
      );
    }
  }

  const count = (result: string): number => now.sum('cache_requests_total', { result });
  t.deepEqual(
    Object.fromEntries(
      ['hit', 'miss', 'joined', 'stale', 'revalidated', 'negative', 'bypass'].map((each) => [
        each,
        count(each),
      ]),
    ),
    { hit: 8, miss: 3, joined: 1, stale: 1, revalidated: 1, negative: 1, bypass: 0 },
  );
  t.is(now.sum('cache_requests_total'), clients.requests);
  t.is(now.sum('cache_misses_total'), count('miss') + count('bypass'));
  t.is(now.sum('cache_misses_total', { reason: 'cold' }), 2);
  t.is(now.sum('cache_misses_total', { reason: 'absent' }), 1);

  // The referrers of what is completed are asked for as well.
  const received = sent(hub).bytes;
  const delivered = clients.bytes[`${HUB} manifest`] + clients.bytes[`${HUB} blob`];
  const hubBytes = now.sum('upstream_bytes_total', { upstream: HUB });
  const clientBytes = now.sum('http_response_bytes_total', { upstream: HUB });
  t.is(1 - hubBytes / clientBytes, 1 - received / delivered);
  t.is(clientBytes - hubBytes, delivered - received);
  const pulled = { kind: 'manifest', method: 'GET' };
  t.is(
    now.sum('cache_requests_total', pulled) -
      now.sum('cache_requests_total', { ...pulled, result: 'negative' }) -
      now.sum('upstream_requests_total', { ...pulled, code: '200' }) -
      now.sum('upstream_requests_total', { ...pulled, code: '404' }),
    clients.pulls - pullsOf(hub) - pullsOf(quay),
  );
  const brought = now.sum('download_bytes_total', { upstream: HUB, result: 'kept' });
  t.is(brought, app.config.size + 21_000);
  t.is(now.sum('upstream_bytes_total', { upstream: HUB, kind: 'blob' }) / brought, 1);

  // Who caused it.
  const caused = (purpose: string, upstream: string): number =>
    now.sum('upstream_bytes_total', { purpose, upstream });
  t.is(caused('sync', QUAY), sent(quay).bytes);
  t.is(caused('client', QUAY), 0);
  t.is(caused('hydration', HUB), app.config.size + 1000 + sent(hub, 'referrer').bytes);
  t.is(caused('client', HUB), app.manifest.size + 20_000);
  t.is(caused('healing', HUB), 0);
});
