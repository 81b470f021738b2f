/**
 * A registry or token service that repeats what it was sent: no client, log, metric or status shows a
 * secret, in whatever form it comes back.
 */
import type { LookupFunction } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { startMirror } from '../helpers/mirror.ts';
import {
  REPOSITORY,
  UPSTREAM,
  startScene,
  type Scene,
  type SceneOptions,
} from '../helpers/scene.ts';

const always = { times: Infinity };
const SECRET = 'pa$$ "wörd"/+&=4711';
const USER = { username: 'robot', password: SECRET };
const BASIC = Buffer.from(`robot:${SECRET}`).toString('base64');

const FORMS: Record<string, (secret: string) => string> = {
  'as it is': (secret) => `bad password ${secret} for robot`,
  'in other letters': (secret) => secret.toUpperCase(),
  'in Base64': (secret) => Buffer.from(secret).toString('base64'),
  'in Base64 for URLs': (secret) => Buffer.from(secret).toString('base64url'),
  'as Basic': (secret) => `Basic ${Buffer.from(`robot:${secret}`).toString('base64')}`,
  'in Base64 of a larger text': (secret) =>
    Buffer.from(JSON.stringify({ a: `x${secret}y` })).toString('base64'),
  'percent-encoded': (secret) => `https://x.example/login/${encodeURIComponent(secret)}`,
  'as a form': (secret) => new URLSearchParams({ pw: secret }).toString(),
  'as JSON': (secret) => JSON.stringify({ secret }),
  'behind much else': (secret) => `${'x '.repeat(95)}${secret}`,
  'over and over': (secret) => `${secret} `.repeat(500),
};

const percent = (text: string): string =>
  [...Buffer.from(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');

/** Forms that nothing needs to send, and that hide a secret from whoever looks for it as it is. */
const ODD_FORMS: Record<string, (secret: string) => string> = {
  'percent-encoded to the last letter': percent,
  'percent-encoded twice': (secret) => encodeURIComponent(percent(secret)),
  'in escapes of JSON': (secret) =>
    Array.from(secret)
      .map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  'in entities of HTML': (secret) =>
    Array.from(secret)
      .map(
        (char, at) => `&#${at % 2 ? char.charCodeAt(0) : `x${char.charCodeAt(0).toString(16)}`};`,
      )
      .join(''),
  'with the named entities of HTML': (secret) =>
    secret.replaceAll('&', '&amp;').replaceAll('"', '&quot;'),
  'in hex': (secret) => Buffer.from(secret).toString('hex'),
  'in percent-encoded Base64': (secret) => percent(Buffer.from(secret).toString('base64')),
  'in Base64 of Base64': (secret) =>
    Buffer.from(Buffer.from(secret).toString('base64')).toString('base64'),
  'in the letters of another character set': (secret) => Buffer.from(secret).toString('latin1'),
};

for (const [claim, form] of Object.entries(ODD_FORMS)) {
  test(`a registry that answers with the password ${claim} shows it to nobody`, async (t) => {
    const scene = await startScene(t, {
      registry: { auth: { kind: 'basic', username: 'robot', password: SECRET } },
      upstream: { credentials: USER },
    });
    await scene.ask(`/v2/${REPOSITORY}/manifests/other`);
    say(scene.registry, /^\/v2\//, 403, `you sent ${form(SECRET)} with it`);
    const text = await shown(scene);
    assertHidden(t, text, SECRET);
    assertHidden(t, text.replaceAll('\\\\', '\\'), form(SECRET));
    t.true(text.includes('you sent '));
  });
}

/** Whatever a person may see of a mirror, as one text. */
async function shown({ mirror, manifest, blob, image }: Scene): Promise<string> {
  const answers = [
    await manifest('latest'),
    await manifest('latest', { method: 'HEAD' }),
    await manifest(image.manifest.digest),
    await blob(image.layer(0)),
    await get(`${mirror.server.adminUrl}/metrics`),
    await get(`${mirror.server.adminUrl}/api/v1/status`),
  ];
  const texts = answers.map(({ headers, body }) => `${JSON.stringify(headers)} ${body.toString()}`);
  return [...texts, JSON.stringify(mirror.log)].join('\n');
}

/** Parts of it would do as well: eight characters in a row of any form. */
function assertHidden(t: ExecutionContext, text: string, secret: string): void {
  const forms = [
    secret,
    encodeURIComponent(secret),
    ...[secret, `robot:${secret}`].flatMap((plain) => [
      Buffer.from(plain).toString('base64'),
      Buffer.from(plain).toString('base64url'),
    ]),
  ];
  const lower = text.toLowerCase();
  for (const form of forms) {
    for (let at = 0; at + 8 <= form.length; at += 1) {
      const part = form.slice(at, at + 8).toLowerCase();
      if (lower.includes(part)) return t.fail(`${part} of ${form} is shown`);
    }
  }
  t.pass();
}

function say(registry: FakeRegistry, what: string | RegExp, status: number, message: string): void {
  registry.status(what, status, {
    ...always,
    contentType: 'application/json',
    body: JSON.stringify({ errors: [{ code: 'DENIED', message }] }),
  });
}

for (const [claim, form] of Object.entries(FORMS)) {
  for (const status of [400, 401, 403, 429, 500]) {
    test(`a registry that answers ${status} with the password ${claim} shows it to nobody`, async (t) => {
      const scene = await startScene(t, {
        registry: { auth: { kind: 'basic', username: 'robot', password: SECRET } },
        upstream: { credentials: USER },
        timing: { attemptsMs: 0 },
      });
      // From now on it is sent along.
      await scene.ask(`/v2/${REPOSITORY}/manifests/other`);
      t.is(scene.registry.requests.at(-1)?.headers.authorization, `Basic ${BASIC}`);
      say(scene.registry, /^\/v2\//, status, form(SECRET));
      const text = await shown(scene);
      assertHidden(t, text, SECRET);
    });
  }

  test(`a token service that refuses with the password ${claim} shows it to nobody`, async (t) => {
    const scene = await startScene(t, {
      registry: { auth: { kind: 'bearer', username: 'robot', password: SECRET } },
      upstream: { credentials: USER },
    });
    say(scene.registry, '/token', 401, form(SECRET));
    assertHidden(t, await shown(scene), SECRET);
  });

  test(`a registry that answers with its token ${claim} shows it to nobody`, async (t) => {
    const scene = await startScene(t, {
      registry: { auth: { kind: 'bearer', username: 'robot', password: SECRET } },
      upstream: { credentials: USER },
    });
    await scene.ask(`/v2/${REPOSITORY}/manifests/other`);
    const token = scene.registry.requests.at(-1)?.headers.authorization?.split(' ')[1] ?? '';
    t.true(token.length > 8);
    say(scene.registry, /^\/v2\//, 403, form(token));
    assertHidden(t, await shown(scene), token);
  });
}

const TOKEN = 'T0KEN-zq4711-Kx9w-Vj3u';

const CONFIGURED: Record<string, SceneOptions['upstream'] & object> = {
  'a bearer token': { credentials: [{ provider: 'bearer', token: TOKEN }] },
  'an identity token': { credentials: [{ provider: 'identity-token', token: TOKEN }] },
};

for (const [claim, upstream] of Object.entries(CONFIGURED)) {
  test(`${claim} that comes back is shown to nobody`, async (t) => {
    const scene = await startScene(t, {
      registry: {
        auth: { kind: 'bearer', anonymous: false, postForm: true, identityToken: TOKEN },
      },
      upstream,
    });
    say(scene.registry, '/token', 401, `you sent ${TOKEN}`);
    say(scene.registry, /^\/v2\/./, 403, `you sent Bearer ${TOKEN}`);
    assertHidden(t, await shown(scene), TOKEN);
  });
}

const PLACES: Record<string, (registry: FakeRegistry, secret: string) => void> = {
  'the host of a redirect': (registry, secret) =>
    registry.status(/^\/v2\/./, 307, {
      ...always,
      headers: { Location: `http://${secret.toLowerCase()}.evil.invalid/x` },
    }),
  'the host of a realm': (registry, secret) =>
    registry.status(/^\/v2\/./, 401, {
      ...always,
      headers: {
        'WWW-Authenticate': `Bearer realm="http://${secret.toLowerCase()}.evil.invalid/t"`,
      },
    }),
  'a Content-Encoding': (registry, secret) =>
    registry.status(/manifests/, 200, {
      ...always,
      headers: { 'Content-Encoding': secret },
      body: '{}',
    }),
  'the media type of a manifest': (registry, secret) =>
    registry.status(/manifests/, 200, {
      ...always,
      contentType: `application/${secret}+json`,
      body: `{"schemaVersion":2,"mediaType":"application/${secret}+json"}`,
    }),
  'the words of a parent mirror': (registry, secret) =>
    registry.status(/manifests/, 200, {
      ...always,
      contentType: 'application/vnd.oci.image.manifest.v1+json',
      headers: {
        'Cache-Status': 'entrepot; hit; detail=stale',
        Warning: `299 - "you sent ${secret}"`,
        Age: '1',
      },
      body: '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]}',
    }),
};

/** What a host's name has letters for. */
const IN_PLACES: Record<string, (secret: string) => string> = {
  'as it is': (secret) => secret,
  'in hex': (secret) => Buffer.from(secret).toString('hex'),
};

for (const [claim, strike] of Object.entries(PLACES)) {
  for (const [how, form] of Object.entries(IN_PLACES)) {
    test(`a password that comes back ${how} in ${claim} is shown to nobody`, async (t) => {
      const secret = 'echo-4711-qwerty-zxcvbnm';
      const scene = await startScene(t, {
        registry: { auth: { kind: 'basic', username: 'robot', password: secret } },
        upstream: { credentials: { username: 'robot', password: secret } },
        timing: { attemptsMs: 0 },
      });
      await scene.ask(`/v2/${REPOSITORY}/manifests/other`);
      strike(scene.registry, form(secret));
      const text = await shown(scene);
      assertHidden(t, text, secret);
      assertHidden(t, text, form(secret));
    });
  }
}

test('the signature of an address, and tokens of others, are shown to nobody', async (t) => {
  const scene = await startScene(t);
  const said =
    'see https://me:hunter22@s.example/x?X-Amz-Signature=abc123def, sig=deadbeef1, "Bearer xyz.abc-0123456" or eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl';
  say(scene.registry, /^\/v2\//, 403, said);
  const text = await shown(scene);
  for (const part of ['hunter22', 'abc123def', 'deadbeef1', 'xyz.abc', 'eyJhbG', 'c2lnbm']) {
    t.false(text.includes(part), part);
  }
  t.true(text.includes('see https://(hidden)@s.example/x?(hidden)'));
});

test('what is no secret is told as it was said', async (t) => {
  const scene = await startScene(t, {
    registry: { auth: { kind: 'basic', ...USER } },
    upstream: { credentials: USER },
  });
  await scene.ask(`/v2/${REPOSITORY}/manifests/other`);
  const said = 'the token expired: ask for a Bearer or Basic login at https://reg.example/login';
  say(scene.registry, /^\/v2\//, 403, said);
  t.true((await shown(scene)).includes(`DENIED: ${said}`));
});

test('a token that is the name of a token service is shown by no reason of an outage', async (t) => {
  const user = { username: 'robot', password: 'a-password-for-a-name' };
  const lookup: LookupFunction = (host, options, callback) => {
    if (host !== 'registry.test') {
      return callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), []);
    }
    if (options.all) callback(null, [{ address: '127.0.0.1', family: 4 }]);
    else callback(null, '127.0.0.1', 4);
  };
  const registry = await FakeRegistry.start(t);
  const { port } = new URL(registry.url);
  const mirror = await startMirror(t, {
    upstreams: { [UPSTREAM]: { url: `http://registry.test:${port}`, credentials: user } },
    lookup,
    timing: { attemptsMs: 0 },
  });
  const realm = `http://${user.password}.registry.test/token`;
  registry.status(/^\/v2\//, 401, {
    ...always,
    headers: { 'WWW-Authenticate': `Bearer realm="${realm}",service="x"` },
  });
  const answers = [];
  for (let turn = 0; turn < 4; turn += 1) {
    answers.push(await get(`${mirror.url}/v2/${REPOSITORY}/manifests/v${turn}`));
  }
  await mirror.logged('the token service is down');
  answers.push(await get(`${mirror.url}/v2/${REPOSITORY}/manifests/latest`));
  answers.push(await get(`${mirror.server.adminUrl}/api/v1/status`));
  const text = answers.map(({ headers, body }) => `${JSON.stringify(headers)} ${body.toString()}`);
  t.true(text.join('').includes('(hidden).registry.test'));
  t.false(`${text.join('')}${JSON.stringify(mirror.log)}`.includes(user.password));
});
