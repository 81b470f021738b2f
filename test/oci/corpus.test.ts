/**
 * Values that registries and tools really send, from test/corpus, each with the reading that is
 * expected of it beside it. Manifests are kept byte for byte, under names that no formatter takes.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { ManifestError, parseManifest } from '../../src/oci/manifest.ts';
import { parseChallenges, refuseRealm } from '../../src/upstream/challenge.ts';
import { nextPage } from '../../src/upstream/listing.ts';
import { Quota } from '../../src/upstream/quota.ts';
import { HostList } from '../../src/config/host-list.ts';
import { parseRetryAfter } from '../../src/upstream/registry-answer.ts';
import { Clock } from '../helpers/clock.ts';

const NO_REALMS = HostList.of({ name: 'ghcr.io', storage: [], realms: [] }, 'realms');

const CORPUS = join(import.meta.dirname, '..', 'corpus');

/** The caller knows what the file holds. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters
function readJson<Value>(...path: string[]): Value {
  return JSON.parse(readFileSync(join(CORPUS, ...path), 'utf8')) as Value;
}

interface ExpectedManifest {
  readonly note: string;
  readonly contentType?: string;
  readonly manifest?: object;
  /** The reason of the refusal. */
  readonly error?: string;
}

const names = readdirSync(join(CORPUS, 'manifests')).filter((name) => name.endsWith('.manifest'));

for (const name of names) {
  const expected = readJson<ExpectedManifest>(
    'manifests',
    name.replace(/manifest$/, 'expected.json'),
  );
  test(`manifest: ${expected.note}`, (t) => {
    const bytes = readFileSync(join(CORPUS, 'manifests', name));
    const read = () => parseManifest(bytes, expected.contentType);
    if (expected.error === undefined) t.deepEqual<object, object>(read(), expected.manifest!);
    else t.throws(read, { instanceOf: ManifestError, message: expected.error });
  });
}

test('no manifest of the corpus is forgotten', (t) => {
  t.is(names.length, 24);
});

interface ExpectedChallenges {
  readonly note: string;
  readonly registry: string;
  readonly header: string | string[];
  readonly challenges: { readonly scheme: string; readonly parameters: Record<string, string> }[];
}

for (const { note, registry, header, challenges } of readJson<ExpectedChallenges[]>(
  'challenges.json',
)) {
  test(`challenge: ${note}`, (t) => {
    const read = parseChallenges(header);
    t.deepEqual(
      read.map(({ scheme, parameters }) => ({ scheme, parameters: { ...parameters } })),
      challenges,
    );
    for (const { scheme, parameters } of read) {
      if (scheme !== 'bearer') continue;
      // What the registries of this world name as their token service gets their credentials.
      const refusal = refuseRealm(new URL(parameters['realm'] ?? ''), new URL(registry), {
        withCredentials: true,
        realms: NO_REALMS,
      });
      t.is(refusal, undefined);
    }
  });
}

interface ExpectedLink {
  readonly note: string;
  readonly base: string;
  readonly page: string;
  readonly link: string;
  /** What is asked for next; `null` at the end. */
  readonly next: string | null;
}

for (const { note, base, page, link, next } of readJson<ExpectedLink[]>('links.json')) {
  test(`link: ${note}`, (t) => {
    const path = nextPage(link, new URL(page), new URL(base));
    t.is(path === undefined ? null : new URL(path, base).href, next);
  });
}

for (const { note, value, milliseconds } of readJson<
  { note: string; value: string; milliseconds: number | null }[]
>('retry-after.json')) {
  test(`Retry-After: ${note}`, (t) => {
    const headers = { 'retry-after': value, date: 'Tue, 01 Jan 2030 00:00:00 GMT' };
    t.is(parseRetryAfter(headers, new Clock()) ?? null, milliseconds);
  });
}

for (const { note, limit, remaining, status } of readJson<
  { note: string; limit: string | null; remaining: string | null; status: object }[]
>('rate-limits.json')) {
  test(`rate limit: ${note}`, (t) => {
    const quota = new Quota(new Clock());
    quota.observe({
      ...(limit !== null && { 'ratelimit-limit': limit }),
      ...(remaining !== null && { 'ratelimit-remaining': remaining }),
    });
    t.deepEqual<object, object>(quota.status, status);
  });
}
