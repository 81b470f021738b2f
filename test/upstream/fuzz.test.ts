/**
 * What comes from the other side in headers and documents is read by parsers that neither throw what
 * nobody expects, nor run on, nor let it lead anywhere else. Long inputs here are so long that work
 * which grows with their square would meet the end of the test.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import * as fc from 'fast-check';
import { isDigest } from '../../src/oci/digest.ts';
import { RegistryError } from '../../src/oci/errors.ts';
import { ManifestError, parseManifest } from '../../src/oci/manifest.ts';
import { isManifestType } from '../../src/oci/media-types.ts';
import { parseReference, parseRepository } from '../../src/oci/reference.ts';
import { parseChallenges, refuseRealm } from '../../src/upstream/challenge.ts';
import { INTERACTIVE, PRIORITY } from '../../src/upstream/demand.ts';
import { nextPage } from '../../src/upstream/listing.ts';
import { Quota } from '../../src/upstream/quota.ts';
import { followRedirect } from '../../src/upstream/registry-sender.ts';
import { DialGuard } from '../../src/net/dial-guard.ts';
import { HostList } from '../../src/config/host-list.ts';
import { parseRetryAfter } from '../../src/upstream/registry-answer.ts';
import { Clock, clockOf, HOUR } from '../helpers/clock.ts';

const NO_REALMS = HostList.of({ name: 'ghcr.io', storage: [], realms: [] }, 'realms');

const CORPUS = join(import.meta.dirname, '..', 'corpus');
const MIB = 1024 * 1024;

function corpus(name: string): unknown {
  return JSON.parse(readFileSync(join(CORPUS, name), 'utf8'));
}

/** A text with some of its characters replaced, doubled or lost. */
function damaged(texts: readonly string[], pieces: readonly string[]): fc.Arbitrary<string> {
  const edit = fc.tuple(fc.nat(400), fc.constantFrom(...pieces, ''), fc.nat(3));
  return fc
    .tuple(fc.constantFrom(...texts), fc.array(edit, { maxLength: 6 }))
    .map(([text, edits]) =>
      edits.reduce((result, [at, piece, lost]) => {
        const position = at % (result.length + 1);
        return result.slice(0, position) + piece + result.slice(position + lost);
      }, text),
    );
}

// Challenges

const CHALLENGES = (corpus('challenges.json') as { header: string | string[] }[]).flatMap(
  ({ header }) => header,
);
const CHALLENGE_PIECES = [
  '"',
  '\\',
  ',',
  '=',
  ' ',
  '\t',
  '""',
  '="',
  '\\"',
  ', ',
  'Basic ',
  '\u00e9',
];

test('a challenge in any spelling that is allowed is read as it was meant', (t) => {
  const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/);
  const quotable = fc.stringMatching(/^[\t\x20-\x7e\u0080-\u00ff]{0,40}$/);
  const bare = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z:/?-]{1,40}$/);
  const value = fc.oneof(
    quotable.map((text) => [`"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`, text] as const),
    // Every character may be escaped.
    quotable.map((text) => [`"${text.replaceAll(/./g, String.raw`\$&`)}"`, text] as const),
    bare.map((text) => [text, text] as const),
  );
  const space = fc.constantFrom('', ' ', '\t', '  ');
  const parameter = fc.tuple(token, space, space, value);
  const challenge = fc.tuple(
    token,
    fc.uniqueArray(parameter, { selector: ([name]) => name.toLowerCase(), maxLength: 5 }),
  );
  fc.assert(
    fc.property(fc.array(challenge, { maxLength: 4 }), (challenges) => {
      const line = challenges
        .map(([scheme, parameters]) =>
          `${scheme} ${parameters.map(([name, a, b, [text]]) => `${name}${a}=${b}${text}`).join(', ')}`.trim(),
        )
        .join(', ');
      const read = parseChallenges(line);
      t.deepEqual(
        read.map(({ scheme, parameters }) => [scheme, Object.entries(parameters)]),
        challenges.map(([scheme, parameters]) => [
          scheme.toLowerCase(),
          Object.entries(
            Object.fromEntries(
              parameters.map(([name, , , [, text]]) => [name.toLowerCase(), text] as const),
            ),
          ),
        ]),
      );
    }),
    { numRuns: 500 },
  );
});

test('no damage to a challenge makes it throw, or puts a realm into it that is not in the line', (t) => {
  fc.assert(
    fc.property(damaged(CHALLENGES, CHALLENGE_PIECES), (line) => {
      for (const { scheme, parameters } of parseChallenges(line)) {
        t.is(scheme, scheme.toLowerCase());
        t.is(Object.getPrototypeOf(parameters), null);
        const { realm } = parameters;
        if (realm !== undefined)
          t.true(line.replaceAll('\\', '').includes(realm.replaceAll('\\', '')));
      }
    }),
    { numRuns: 2000 },
  );
});

test('a challenge with the token of another scheme is found all the same', (t) => {
  for (const token of ['YIIJvwYG+Kw/BBQ==', 'abc', 'a=', '=', '~._-+/==']) {
    const found = parseChallenges(`Negotiate ${token}, Bearer realm="https://r.example/t"`);
    t.deepEqual(
      { ...found.find(({ scheme }) => scheme === 'bearer')?.parameters },
      {
        realm: 'https://r.example/t',
      },
    );
  }
});

for (const piece of [
  'a',
  ' ',
  ',',
  '=',
  '"',
  '\\',
  '\\"',
  'a=',
  'a="',
  'a="\\',
  'a=b,',
  'a= ',
  'a ',
  ', \t',
  'Bearer realm="x",',
  '\u00ff',
]) {
  test(`a megabyte of ${JSON.stringify(piece)} in a challenge is read in one go`, (t) => {
    for (const start of ['', 'Bearer realm=', 'Bearer realm="', 'Bearer realm="x",a=']) {
      const line = start + piece.repeat(MIB / piece.length);
      t.true(Array.isArray(parseChallenges(line)));
    }
  });
}

// Realms and redirects

const host = fc.oneof(
  fc.domain(),
  fc.ipV4(),
  fc.ipV6().map((address) => `[${address}]`),
  fc.constantFrom(
    'localhost',
    '127.1',
    '0x7f000001',
    '017700000001',
    '169.254.169.254',
    '0xa9fea9fe',
  ),
);

/** By other means than the code: where a literal address is. */
function isInward(hostname: string): boolean {
  const parts = /^(\d+)\.(\d+)\.\d+\.\d+$/.exec(hostname);
  if (!parts)
    return (
      hostname === 'localhost' || hostname === '[::1]' || /^\[f[cd][0-9a-f]{2}:/.test(hostname)
    );
  const first = Number(parts[1]);
  const start = `${parts[1]}.${parts[2]}`;
  return first === 127 || first === 10 || first === 0 || start === '169.254' || start === '192.168';
}

test('whatever a registry with a public name answers, nothing goes inwards or into the clear', (t) => {
  const registry = new URL('https://registry.example/v2/');
  const config = { name: 'registry.example', url: registry.origin, storage: [], realms: [] };
  const guard = new DialGuard({ config });
  const scheme = fc.constantFrom('http', 'https', 'HTTPS', 'file', 'ftp', 'ws', 'javascript');
  const address = fc
    .tuple(scheme, fc.constantFrom('', 'u@', 'u:p@'), host, fc.constantFrom('', ':443', ':5000'))
    .map(([protocol, user, name, port]) => `${protocol}://${user}${name}${port}/x`);
  fc.assert(
    fc.property(address, (text) => {
      if (!URL.canParse(text)) return;
      const url = new URL(text);
      const isBad = url.protocol !== 'https:' || isInward(url.hostname);
      const next = followRedirect(registry, text);
      const mayLead = typeof next === 'object' && guard.refusal('storage', next) === undefined;
      if (isBad) t.false(mayLead, text);
      const refusal = refuseRealm(url, registry, { withCredentials: false, realms: NO_REALMS });
      if (isBad || url.username !== '') t.is(typeof refusal, 'string', text);
      if (!url.hostname.endsWith('registry.example')) {
        t.is(
          typeof refuseRealm(url, registry, { withCredentials: true, realms: NO_REALMS }),
          'string',
          text,
        );
      }
    }),
    { numRuns: 3000 },
  );
});

// Links

const LINKS = (corpus('links.json') as { link: string }[]).map(({ link }) => link);
const LINK_PIECES = [
  '<',
  '>',
  ';',
  ',',
  '"',
  '/',
  '..',
  '/../',
  '%2e%2e/',
  '\\',
  '//',
  'v2/',
  '/v2/',
  'http:',
  'https://evil.example',
  '@',
  '#',
  '?',
  ' ',
];

const anyLink = fc.oneof(
  damaged(LINKS, LINK_PIECES),
  fc
    .webUrl({ withQueryParameters: true, withFragments: true })
    .map((url) => `<${url}>; rel="next"`),
  fc
    .array(fc.constantFrom(...LINK_PIECES, 'a', 'tags/list'), { maxLength: 12 })
    .map((pieces) => `</v2/${pieces.join('').replaceAll('>', '')}>; rel="next"`),
  fc.string({ maxLength: 200 }),
);

const BASES = ['https://registry.example/v2/', 'http://parent.example:5000/docker.io/v2/'];

for (const base of BASES) {
  test(`no link leads away from ${base}'s own origin, nor round to the page it is on`, (t) => {
    fc.assert(
      fc.property(anyLink, fc.constantFrom(base, 'https://other.example/v2/'), (link, from) => {
        const page = new URL('a/b/tags/list?n=1', from);
        const path = nextPage(link, page, new URL(base));
        if (path === undefined) return;
        const next = new URL(path, base);
        t.is(next.origin, new URL(base).origin, link);
        t.is(next.username + next.password, '', link);
        t.not(next.href, page.href, link);
      }),
      { numRuns: 5000 },
    );
  });

  test(`no link leads out of ${base}`, (t) => {
    fc.assert(
      fc.property(anyLink, (link) => {
        const page = new URL('a/b/tags/list?n=1', base);
        const path = nextPage(link, page, new URL(base));
        return path === undefined || new URL(path, base).href.startsWith(base);
      }),
      { numRuns: 5000 },
    );
    t.pass();
  });
}

test('no link makes it throw', (t) => {
  const [base] = BASES;
  fc.assert(
    fc.property(anyLink, (link) => {
      nextPage(link, new URL('a/b/tags/list?n=1', base), new URL(base!));
    }),
    { numRuns: 5000 },
  );
  t.pass();
});

// Manifests

interface Stored {
  readonly bytes: Buffer;
  readonly contentType: string | undefined;
}

const MANIFESTS: Stored[] = readdirSync(join(CORPUS, 'manifests'))
  .filter((name) => name.endsWith('.manifest'))
  .map((name) => ({
    bytes: readFileSync(join(CORPUS, 'manifests', name)),
    contentType: (
      corpus(join('manifests', name.replace(/manifest$/, 'expected.json'))) as {
        contentType?: string;
      }
    ).contentType,
  }));

/** The manifest, or `undefined` when it is refused in the proper way. */
function tryManifest(bytes: Uint8Array, contentType?: string) {
  try {
    return parseManifest(bytes, contentType);
  } catch (error) {
    if (error instanceof ManifestError) return undefined;
    throw error;
  }
}

function isSound({
  digest,
  size,
  mediaType,
}: {
  digest: unknown;
  size: unknown;
  mediaType: unknown;
}) {
  return (
    isDigest(digest) &&
    Number.isSafeInteger(size) &&
    Number(size) >= 0 &&
    typeof mediaType === 'string'
  );
}

test('any bytes are a sound manifest or a ManifestError: arbitrary JSON, and real ones with bytes changed', (t) => {
  const mutated = fc
    .tuple(
      fc.constantFrom(...MANIFESTS),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 5 }),
      fc.nat(),
    )
    .map(([{ bytes, contentType }, changes, cut]) => {
      const copy = Buffer.from(bytes);
      for (const [at, value] of changes) copy[at % copy.length] = value;
      return { bytes: cut % 3 === 0 ? copy.subarray(0, cut % copy.length) : copy, contentType };
    });
  const arbitrary = fc
    .tuple(fc.json({ maxDepth: 5 }), fc.constantFrom(...MANIFESTS))
    .map(([text, { contentType }]) => ({ bytes: Buffer.from(text), contentType }));
  fc.assert(
    fc.property(fc.oneof(mutated, arbitrary), ({ bytes, contentType }) => {
      const manifest = tryManifest(bytes, contentType);
      if (!manifest) return;
      t.true(isManifestType(manifest.mediaType));
      t.true(manifest.successors.every(isSound));
      t.true(manifest.subject === undefined || isDigest(manifest.subject));
      t.true(Object.values(manifest.annotations ?? {}).every((text) => typeof text === 'string'));
    }),
    { numRuns: 3000 },
  );
});

const OTHER_SHAPES = [5, 'x', true, {}, [5], ['x'], [null], [[]], [{}], { digest: 5 }];

test('no field of a real manifest may have the shape of another: it is refused, or not part of what is read', (t) => {
  for (const { bytes, contentType } of MANIFESTS) {
    if (!tryManifest(bytes, contentType)) continue;
    const document = JSON.parse(bytes.toString()) as Record<string, unknown>;
    for (const field of ['manifests', 'config', 'layers', 'blobs']) {
      for (const shape of OTHER_SHAPES) {
        const changed = Buffer.from(JSON.stringify({ ...document, [field]: shape }));
        t.is(tryManifest(changed, contentType), undefined, `${field}: ${JSON.stringify(shape)}`);
      }
    }
    for (const shape of OTHER_SHAPES) {
      const odd = { subject: shape, artifactType: [shape], annotations: [shape] };
      const changed = Buffer.from(JSON.stringify({ ...document, ...odd }));
      const manifest = tryManifest(changed, contentType);
      t.is(manifest?.subject, undefined);
      t.is(manifest?.annotations, undefined);
      t.true(manifest === undefined || typeof (manifest.artifactType ?? '') === 'string');
    }
  }
});

test('a list where one descriptor belongs, and one where a list belongs, are refused', (t) => {
  const descriptor = { mediaType: 'a/b', digest: `sha256:${'a'.repeat(64)}`, size: 1 };
  for (const document of [
    { schemaVersion: 2, config: [descriptor], layers: [] },
    { schemaVersion: 2, config: [descriptor, descriptor], layers: [descriptor] },
  ]) {
    t.is(tryManifest(Buffer.from(JSON.stringify(document))), undefined);
  }
  const type = 'application/vnd.oci.image.manifest.v1+json';
  const single = Buffer.from(JSON.stringify({ config: descriptor, layers: descriptor }));
  t.is(tryManifest(single, type), undefined);
});

// Names

/** The grammar of the specification, step by step and without its regular expression. */
function isName(text: string): boolean {
  if (text === '' || text.length > 255) return false;
  return text.split('/').every((component) => {
    const words = component.split(/([._-]+)/);
    return words.every((word, at) =>
      at % 2 === 0 ? /^[a-z0-9]+$/.test(word) : /^(?:\.|_|__|-+)$/.test(word),
    );
  });
}

const nameish = fc
  .array(
    fc.constantFrom(
      'a',
      'z0',
      '-',
      '--',
      '.',
      '..',
      '_',
      '__',
      '___',
      '/',
      '//',
      'A',
      '%',
      ' ',
      'v2',
      'é',
      '\n',
      ':',
      '@',
    ),
    {
      maxLength: 14,
    },
  )
  .map((pieces) => pieces.join(''));

test('a repository is what the grammar says, no more and no less', (t) => {
  let accepted = 0;
  fc.assert(
    fc.property(
      fc.oneof(nameish, fc.string(), fc.stringMatching(/^[a-z0-9]([a-z0-9._/-]{0,40})$/)),
      (text) => {
        let isAccepted = true;
        try {
          parseRepository(text);
          accepted += 1;
        } catch (error) {
          if (!(error instanceof RegistryError)) throw error;
          isAccepted = false;
        }
        t.is(isAccepted, isName(text), JSON.stringify(text));
      },
    ),
    { numRuns: 5000 },
  );
  t.true(accepted > 100);
});

test('every name and reference that passes stands in a URL as it is', (t) => {
  const reference = fc.oneof(
    fc.stringMatching(/^[a-zA-Z0-9_.:@%/-]{1,40}$/),
    fc.stringMatching(/^sha256:[0-9a-f]{64}$/),
    fc.stringMatching(/^sha512:[0-9a-f]{128}$/),
  );
  let passed = 0;
  fc.assert(
    fc.property(
      fc.oneof(nameish, fc.stringMatching(/^[a-z0-9]{1,5}(\/[a-z]{1,4}){0,3}$/)),
      reference,
      (name, last) => {
        let path: string;
        try {
          path = `/v2/${parseRepository(name)}/manifests/${parseReference(last)}`;
        } catch (error) {
          if (error instanceof RegistryError) return;
          throw error;
        }
        passed += 1;
        const url = new URL(path, 'http://registry.example');
        t.is(url.href, `http://registry.example${path}`);
        t.is(decodeURIComponent(url.pathname), path);
      },
    ),
    { numRuns: 3000 },
  );
  t.true(passed > 100);
});

// Limits

const number = fc.oneof(
  fc.nat().map(String),
  fc.bigInt().map(String),
  fc.double().map(String),
  fc.date({ noInvalidDate: true }).map((date) => date.toUTCString()),
  fc.string(),
  fc.constantFrom('', ' ', '-1', '1e9', '0x10', 'Infinity', 'NaN', '1, 2', '9'.repeat(400)),
);

const DATES = [{}, { date: 'Tue, 01 Jan 2030 00:00:00 GMT' }, { date: 'today' }];

test('Retry-After is a whole number of milliseconds from now on and an hour at most, or nothing', (t) => {
  fc.assert(
    fc.property(number, fc.constantFrom(...DATES), fc.nat(), (value, date, now) => {
      const clock = clockOf(() => now);
      const wait = parseRetryAfter({ 'retry-after': value, ...date }, clock);
      t.true(wait === undefined || (Number.isSafeInteger(wait) && wait > 0 && wait <= HOUR), value);
    }),
    { numRuns: 3000 },
  );
});

test('seconds of Retry-After are those seconds, as far as an hour; more than two days are none', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 999_999_999 }), (seconds) => {
      const expected = seconds > 2 * 86_400 ? undefined : Math.min(seconds * 1000, HOUR);
      return parseRetryAfter({ 'retry-after': String(seconds) }, new Clock()) === expected;
    }),
  );
  t.pass();
});

const PULL = { kind: 'manifest', method: 'GET', scope: 'repository:library/app:pull' } as const;

test('no rate header makes a quota that is no number, or blocks for more than an hour', (t) => {
  const header = fc.oneof(
    number,
    fc.tuple(number, number).map(([count, window]) => `${count};w=${window}`),
    damaged(['100;w=21600', '100, 100;w=60', '76;w=21600'], [';', 'w=', ',', ' ', '-', '9']),
  );
  const status = fc.tuple(
    header,
    header,
    fc.option(fc.nat({ max: HOUR }), { nil: undefined }),
    fc.boolean(),
  );
  fc.assert(
    fc.property(fc.array(status, { maxLength: 8 }), (answers) => {
      let clock = 0;
      const quota = new Quota(clockOf(() => (clock += 1000)));
      for (const [limit, remaining, retryAfterMs, isRefusal] of answers) {
        const headers = { 'ratelimit-limit': limit, 'ratelimit-remaining': remaining };
        if (isRefusal) quota.refuse(headers, retryAfterMs, { ...PULL, demand: INTERACTIVE });
        else quota.observe(headers);
      }
      for (const value of Object.values(quota.status) as unknown[]) {
        t.true(Number.isFinite(value) && Number(value) >= 0);
      }
      t.true(quota.waitMs({ ...PULL, demand: { priority: PRIORITY.sync } }) <= 3_600_000);
      t.true(quota.room >= 0);
    }),
    { numRuns: 1000 },
  );
});
