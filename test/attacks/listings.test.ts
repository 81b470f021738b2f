/** Lists without an end, in a circle, or of a size that no list has: they end, and cost nothing twice. */
import { createServer } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import type { Timing } from '../../src/net/timing.ts';
import { get, type ClientAnswer } from '../helpers/client.ts';
import { Clock, MINUTE, SECOND } from '../helpers/clock.ts';
import { MEDIA_TYPES } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';
import { refusalOf, UPSTREAM } from '../helpers/scene.ts';
import { serve } from '../helpers/serve.ts';

const REPOSITORY = 'library/app';
const TAGS = `/v2/${REPOSITORY}/tags/list`;
const SUBJECT = `sha256:${'ab'.repeat(32)}`;
const REFERRERS = `/v2/${REPOSITORY}/referrers/${SUBJECT}`;
const CATALOG = '/v2/_catalog';

/** A page, and the address of the next one; `undefined` is 404. */
type Page =
  | {
      readonly body: string;
      readonly next?: string;
      /** Comes at a byte every few milliseconds, without an end. */
      readonly drips?: boolean;
    }
  | undefined;

interface Options {
  readonly timing?: Partial<Timing>;
  readonly negativeTtlMs?: number;
}

/** A registry of lists alone, whose pages a test makes from what was asked before. */
async function start(
  t: ExecutionContext,
  pageOf: (address: string, count: number) => Page,
  { timing = {}, negativeTtlMs = 30 * SECOND }: Options = {},
) {
  const asked: string[] = [];
  const clock = new Clock();
  const server = createServer((request, response) => {
    const address = request.url ?? '';
    const page = pageOf(address, asked.push(`${request.method} ${address}`));
    const type = address.includes('/referrers/') ? MEDIA_TYPES.index : 'application/json';
    response.writeHead(page ? 200 : 404, {
      'Content-Type': type,
      ...(page?.next !== undefined && { Link: `<${page.next}>; rel="next"` }),
    });
    if (!page?.drips) return response.end(page?.body);
    const drip = setInterval(() => response.write(' '), 5);
    return response.on('close', () => clearInterval(drip));
  });
  const url = (await serve(t, server)).href.replace(/\/$/, '');
  const mirror = await startMirror(t, {
    clock,
    timing,
    upstreams: { [UPSTREAM]: { url, tags: { ttlMs: 5 * MINUTE, negativeTtlMs } } },
  });
  const ask = async (path: string): Promise<ClientAnswer> => get(`${mirror.url}${path}`);
  return { asked, clock, ask };
}

function names(field: 'tags' | 'repositories', list: readonly unknown[]): string {
  return JSON.stringify({ name: REPOSITORY, [field]: list });
}

function many(count: number, prefix = 't'): string[] {
  return Array.from({ length: count }, (_, number) => `${prefix}${number}`);
}

function descriptors(count: number, annotations?: Record<string, string>): object[] {
  return many(count).map((_, number) => ({
    mediaType: 'a/b',
    digest: `sha256:${number.toString(16).padStart(64, '0')}`,
    size: 1,
    ...(annotations && { annotations }),
  }));
}

function index(manifests: readonly object[]): string {
  return JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests });
}

/** The message of a 502. */
function reasonOf(answer: ClientAnswer): string {
  mustBeBad(answer);
  return String(refusalOf(answer)['message']).replace(/127\.0\.0\.1:\d+/, 'HOST');
}

function mustBeBad(answer: ClientAnswer): void {
  if (answer.status !== 502) throw new Error(`${answer.status}: ${answer.body.toString()}`);
}

const KINDS = [
  ['tags', TAGS, names('tags', ['a'])],
  ['referrers', REFERRERS, index(descriptors(1))],
  ['repositories', CATALOG, names('repositories', ['a'])],
] as const;

for (const [kind, path, body] of KINDS) {
  test(`${kind} whose pages go in a circle are 502 at once, and not asked for again for a while`, async (t) => {
    const { asked, clock, ask } = await start(t, (address) => {
      if (!address.startsWith(path)) return undefined;
      const next = address.includes('page=b') ? 'page=c' : 'page=b';
      return { body, next: `${path}?${next}` };
    });
    const first = kind === 'referrers' ? '' : '?n=1000';
    const circle = [`GET ${path}${first}`, `GET ${path}?page=b`, `GET ${path}?page=c`];
    const reason = `${UPSTREAM}: a list whose pages lead back to one of them`;
    t.is(reasonOf(await ask(path)), reason);
    t.deepEqual(asked, circle);
    clock.advance(30 * SECOND - 1);
    t.is(reasonOf(await ask(`${path}?n=1`)), reason);
    t.deepEqual(asked, circle);
    clock.advance(1);
    t.is(reasonOf(await ask(path)), reason);
    t.deepEqual(asked, [...circle, ...circle]);
  });
}

test('a list of endless small pages ends after so many, and is not asked for again', async (t) => {
  const { asked, ask } = await start(t, (_, count) => ({
    body: names('tags', [`t${count}`]),
    next: `${TAGS}?last=${count}`,
  }));
  for (const path of [`${TAGS}?n=1`, TAGS]) {
    t.is(reasonOf(await ask(path)), `${UPSTREAM}: a list of more than 2000 pages`);
  }
  t.is(asked.length, 2000);
});

test('a list of too many names ends with the page that is too much', async (t) => {
  const page = names('tags', many(90_000));
  const { asked, ask } = await start(t, (_, count) => ({
    body: page,
    next: `${TAGS}?last=${count}`,
  }));
  for (const _ of [1, 2]) {
    t.is(reasonOf(await ask(TAGS)), `${UPSTREAM}: a list of more than 200000 entries`);
  }
  t.is(asked.length, 3);
});

test('a list of which a later page is not there is no list, rather than a shorter one', async (t) => {
  const page = { body: names('tags', ['a', 'b']), next: `${TAGS}?last=b` };
  const { asked, ask } = await start(t, (address) =>
    address.includes('last=') ? undefined : page,
  );
  const { status, message } = refusalOf(await ask(TAGS));
  t.deepEqual([status, message], [502, `${UPSTREAM}: a list of tags without tags`]);
  t.deepEqual(asked, [`GET ${TAGS}?n=1000`, `GET ${TAGS}?last=b`]);
});

test('a page larger than any is refused, and not read to its end', async (t) => {
  const { asked, ask } = await start(t, () => ({ body: names('tags', many(600_000)) }));
  const reason = `${UPSTREAM}: HOST sent more than 4194304 bytes as one page of a list`;
  for (const _ of [1, 2]) t.is(reasonOf(await ask(TAGS)), reason);
  t.deepEqual(asked, [`GET ${TAGS}?n=1000`]);
});

test('referrers are weighed with their annotations', async (t) => {
  const page = index(descriptors(2_000, { note: 'x'.repeat(1_000) }));
  const { asked, ask } = await start(t, (address, count) =>
    address.startsWith(REFERRERS) ? { body: page, next: `${REFERRERS}?page=${count}` } : undefined,
  );
  const reason = `${UPSTREAM}: a list that takes more than its share of 16777216 bytes of memory`;
  for (const _ of [1, 2]) t.is(reasonOf(await ask(REFERRERS)), reason);
  t.is(asked.length, 6);
});

test('40,000 referrers on two pages are listed, a thousand an answer', async (t) => {
  const all = descriptors(40_000);
  const { asked, ask } = await start(t, (address) => {
    if (address === REFERRERS) return { body: index(all.slice(20_000)), next: '?page=2' };
    return address.startsWith(REFERRERS) ? { body: index(all.slice(0, 20_000)) } : undefined;
  });
  const answer = await ask(REFERRERS);
  t.deepEqual(JSON.parse(answer.body.toString()), JSON.parse(index(all.slice(0, 1_000))));
  const next = /^<([^>]+)>/.exec(String(answer.headers.link))?.[1];
  t.is((await ask(next ?? '')).body.toString(), index(all.slice(1_000, 2_000)));
  const tag = SUBJECT.replace(':', '-');
  const once = [`GET ${REFERRERS}`, `GET ${REFERRERS}?page=2`];
  t.deepEqual(asked, [...once, `HEAD /v2/${REPOSITORY}/manifests/${tag}`]);
  t.is((await ask(`/v2/${REPOSITORY}/manifests/${tag}`)).status, 404, 'no manifest is so large');
});

test('a list that takes too long altogether is refused in the middle of a page that drips', async (t) => {
  const page = { body: names('tags', ['a']), drips: true };
  const { asked, clock, ask } = await start(t, () => page, {
    timing: { listingMs: 1_500 },
    negativeTtlMs: 0,
  });
  const reason = `${UPSTREAM}: a list that takes longer than 1500 ms`;
  t.is(reasonOf(await ask(TAGS)), reason);
  clock.advance(5 * SECOND - 1);
  t.is(reasonOf(await ask(TAGS)), reason);
  t.deepEqual(asked, [`GET ${TAGS}?n=1000`], 'remembered, for however short an absence is');
  clock.advance(1);
  mustBeBad(await ask(TAGS));
  t.is(asked.length, 2);
});

test('a list that fails late is not begun anew at once; one that fails early is', async (t) => {
  const { asked, ask } = await start(t, (address, count) => {
    const isEarly = address.startsWith('/v2/library/early/');
    const path = isEarly ? '/v2/library/early/tags/list' : TAGS;
    if (count > (isEarly ? 13 : 11)) return { body: 'no list' };
    return { body: names('tags', [`t${count}`]), next: `${path}?last=${count}` };
  });
  for (const _ of [1, 2])
    t.is(reasonOf(await ask(TAGS)), `${UPSTREAM}: HOST sent no JSON list of tags`);
  t.is(asked.length, 12);
  for (const _ of [1, 2]) mustBeBad(await ask('/v2/library/early/tags/list'));
  t.is(asked.length, 15);
});

test('names that are lists in lists in lists are none', async (t) => {
  const deep = `{"tags":["a",${'['.repeat(200_000)}${']'.repeat(200_000)}]}`;
  const { ask } = await start(t, () => ({ body: deep }));
  t.deepEqual(JSON.parse((await ask(TAGS)).body.toString()), { name: REPOSITORY, tags: ['a'] });
});

test('what several long lists take together is bounded, and a short one is read beside them', async (t) => {
  const { ask } = await start(t, (address, count) => {
    if (address.startsWith(TAGS)) return { body: names('tags', ['a']) };
    return { body: names('tags', many(60_000)), next: `${address.split('?')[0]}?last=${count}` };
  });
  const long = many(6, 'r').map(async (name) => ask(`/v2/library/${name}/tags/list`));
  t.is((await ask(TAGS)).status, 200);
  for (const answer of await Promise.all(long)) mustBeBad(answer);
});
