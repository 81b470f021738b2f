/** What hidden images could be known by without being pulled: digests, lists, counts, and the shape of a refusal. */
import test, { type ExecutionContext } from 'ava';
import type { ClientAnswer } from '../helpers/client.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildArtifact, buildBlob, fallbackTag } from '../helpers/image.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';
import { basic, form, HUB, OPEN, PRIVATE, startGuardedScene, writeUsers } from './guarded-scene.ts';
import { lasting } from './requests.ts';
import { join } from 'node:path';

const ALICE = basic('alice', 'wonder');

function seen({ status, headers, body }: ClientAnswer, ...own: readonly string[]): string {
  let text = JSON.stringify([status, lasting(headers), String(body)]);
  for (const each of own) text = text.replaceAll(each, 'OWN');
  return text;
}

for (const isOffline of [false, true]) {
  test(`by its digest nothing private is read or known through a public repository${isOffline ? ', offline' : ''}`, async (t) => {
    const storePath = await createTempFolder(t);
    let scene = await startGuardedScene(t, { storePath });
    const signature = buildArtifact({ seed: 's', artifactType: 'a/b', subject: PRIVATE.manifest });
    scene.registry.addImage('org/private', undefined, signature);
    const paths = [
      'manifests/v1',
      ...PRIVATE.blobs.map(({ digest }) => `blobs/${digest}`),
      `manifests/${signature.manifest.digest}`,
      `referrers/${PRIVATE.manifest.digest}`,
      `manifests/${fallbackTag(PRIVATE.manifest.digest)}`,
    ];
    for (const path of paths) {
      t.is((await scene.ask(`/v2/org/private/${path}`, { headers: ALICE })).status, 200, path);
    }
    await scene.ask('/v2/library/open/manifests/v1');
    await scene.ask(`/v2/library/open/blobs/${OPEN.layer(0).digest}`);
    await scene.mirror.idle();
    if (isOffline) {
      await scene.mirror.stop();
      scene = await startGuardedScene(t, { storePath, offline: true });
    }
    const absent = buildBlob('nowhere', 10).digest;
    const held = [PRIVATE.layer(0), PRIVATE.config, PRIVATE.manifest, signature.manifest];
    for (const { digest } of held) {
      const both = async (path: (each: string) => string, method: string, range?: string) => {
        const headers = { ...(range !== undefined && { range }) };
        const [of, like] = [digest, absent].map((each) => ({ each, path: path(each) }));
        const answers = await Promise.all(
          [of!, like!].map(async (one) => {
            const answer = await scene.ask(`/v2/library/open/${one.path}`, { method, headers });
            return seen(answer, one.each, one.each.replace(':', '-'));
          }),
        );
        t.is(answers[0], answers[1], `${method} ${of!.path}`);
        return answers[0]!;
      };
      for (const method of ['GET', 'HEAD']) {
        for (const range of [undefined, 'bytes=0-0', 'bytes=0-0,5-6', 'bytes=99999-']) {
          t.regex(await both((each) => `blobs/${each}`, method, range), /^\[(?:404|504|503),/);
        }
        t.regex(await both((each) => `manifests/${each}`, method), /^\[(?:404|504|503),/);
        await both((each) => `manifests/${fallbackTag(each)}`, method);
        t.notRegex(await both((each) => `referrers/${each}`, method), /artifactType":"a/);
      }
      const mount = (from: string) => (each: string) => `blobs/uploads/?mount=${each}&from=${from}`;
      t.regex(await both(mount('org/private'), 'POST'), /^\[405,/);
    }
  });
}

/** A registry that lists, of which some names are hidden from alice. */
async function startListing(t: ExecutionContext, names: readonly string[]) {
  const registry = await FakeRegistry.start(t);
  for (const name of names) registry.addImage(name, 'v1', OPEN);
  const htpasswd = join(await createTempFolder(t), 'htpasswd');
  writeUsers(htpasswd, { alice: 'wonder', bob: 'bob' });
  const mirror = await startMirror(t, {
    upstreams: { [HUB]: { url: registry.url } },
    access: {
      token: { ttl: 300_000, service: 'mirror' },
      htpasswd: { file: htpasswd },
      rules: [{ who: ['user:alice'], may: ['list', 'pull'], images: [`${HUB}/seen/**`] }],
    },
  });
  const ask = async (query: string, headers: Record<string, string> = ALICE) =>
    get(`${mirror.url}/v2/_catalog${query}`, { headers });
  return { registry, ask, mirror };
}

test('a list is the same to the byte as that of a registry without what is hidden, page by page', async (t) => {
  const visible = ['seen/b', 'seen/d', 'seen/f'];
  const hidden = ['hidden/a', 'seen-not/c', 'zz/hidden', 'aa/hidden', 'see'];
  const [whole, open] = [
    await startListing(t, [...visible, ...hidden]),
    await startListing(t, visible),
  ];
  const lasts = [
    '',
    'aa/hidden',
    'seen',
    'seen-not/c',
    'seen/b',
    'seen/c',
    'seen/f',
    'zz',
    'zz/hidden',
  ];
  for (const last of lasts) {
    for (const n of [undefined, '0', '1', '2', '3', '4', '1000']) {
      const query = new URLSearchParams({ last, ...(n !== undefined && { n }) }).toString();
      const answer = await whole.ask(`?${query}`);
      t.is(seen(answer), seen(await open.ask(`?${query}`)), query);
      t.notRegex(JSON.stringify(answer.headers), /hidden|seen-not/, query);
      t.is(answer.status, 200, query);
    }
  }
  // Followed to its end it names all that may be seen.
  const names: string[] = [];
  for (let link: string | undefined = '?n=1'; link !== undefined;) {
    const { headers, body } = await whole.ask(link);
    names.push(...(JSON.parse(String(body)) as { repositories: string[] }).repositories);
    link = /<\/v2\/_catalog(\?[^>]+)>/.exec(String(headers['link'] ?? ''))?.[1];
  }
  t.deepEqual(names, visible);
});

test('for whom no rule lists anything the upstream is asked for no list, and lists say no more than that', async (t) => {
  const { registry, ask } = await startListing(t, ['seen/b']);
  const nobody = await ask('?n=1', {});
  t.is(nobody.status, 401);
  t.is(
    String(nobody.headers['www-authenticate']).replace(/http:\/\/[^/]+/, ''),
    'Bearer realm="/token",service="mirror",scope="registry:catalog:*"',
  );
  const bob = await ask('', basic('bob', 'bob'));
  t.is(bob.status, 200);
  t.deepEqual(JSON.parse(String(bob.body)), { repositories: [] });
  t.deepEqual(registry.conversation(), []);
});

test('what the registry itself is barred from is no news for who may not come in', async (t) => {
  const registry = await FakeRegistry.start(t);
  for (const name of ['org/behind', 'org/barred']) registry.addImage(name, 'v1', PRIVATE);
  const htpasswd = join(await createTempFolder(t), 'htpasswd');
  writeUsers(htpasswd, { alice: 'wonder', bob: 'bob' });
  const mirror = await startMirror(t, {
    upstreams: { [HUB]: { url: registry.url, deny: ['org/barred'] } },
    access: {
      token: { ttl: 300_000 },
      htpasswd: { file: htpasswd },
      rules: [{ who: ['user:alice'], may: ['pull'], images: ['**'] }],
    },
  });
  const ask = async (name: string, headers: Record<string, string>) =>
    get(`${mirror.url}/v2/${name}/manifests/v1`, { headers: { accept: '*/*', ...headers } });
  for (const headers of [{}, basic('bob', 'bob'), basic('x', 'y')]) {
    const [barred, there] = [await ask('org/barred', headers), await ask('org/behind', headers)];
    t.is(seen(barred, 'barred'), seen(there, 'behind'));
  }
  t.is((await ask('org/barred', ALICE)).status, 403);
  t.deepEqual(registry.conversation(), []);
});

test('passwords of users that there are and that there are not are refused in the same words', async (t) => {
  const { ask, admin } = await startGuardedScene(t);
  const ways: Readonly<Record<string, (user: string, n: number) => Promise<ClientAnswer>>> = {
    ping: async (user, n) => ask('/v2/', { headers: basic(user, `guess ${n}`) }),
    pull: async (user, n) =>
      ask('/v2/org/private/manifests/v1', { headers: basic(user, `guess ${n}`) }),
    login: async (user, n) => ask('/token', { headers: basic(user, `guess ${n}`) }),
    form: async (user, n) =>
      ask('/token', form({ grant_type: 'password', username: user, password: `guess ${n}` })),
    admin: async (user, n) => admin('/api/v1/status', { headers: basic(user, `guess ${n}`) }),
  };
  const statuses = new Set<number>();
  let n = 0;
  // So many that the brake comes for both.
  for (let round = 0; round < 4; round += 1) {
    for (const [way, guess] of Object.entries(ways)) {
      n += 1;
      const [known, unknown] = [await guess('alice', n), await guess('alina', n)];
      statuses.add(known.status);
      t.is(seen(known, 'alice'), seen(unknown, 'alina'), `${way}, guess ${n}`);
    }
  }
  t.deepEqual(statuses, new Set([401, 429]));
});
