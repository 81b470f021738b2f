/** Secrets that come from every side: no line of the log in either look, no answer, metric or span shows one. */
import test from 'ava';
import { lineForPeople } from '../../src/observe/line-for-people.ts';
import { get } from '../helpers/client.ts';
import { FakeCollector } from '../helpers/fake-collector.ts';
import { startScene } from '../helpers/scene.ts';

const always = { times: Infinity };
/** Whichever is shown tells by its name where it came from. */
const secret = (from: string): string => `hunter2-${from}-0123456789`;
const JWT = `eyJhbGciOiJIUzI1NiJ9.${Buffer.from('hunter2').toString('base64url')}.c2ln`;
const SHOWN = /hunter2|aHVudGVyMi|eyJhbGciOiJIUzI1NiJ9/i;

test('no secret that anybody sends or the configuration holds is shown', async (t) => {
  const collector = await FakeCollector.start(t);
  const { mirror, manifest, ask, registry, image } = await startScene(t, {
    tracing: { otlp: collector.url },
    trustProxy: ['127.0.0.1'],
    registry: {
      auth: { kind: 'bearer', username: 'robot', password: secret('account') },
      redirectBlobs: 307,
    },
    upstream: {
      credentials: { username: 'robot', password: secret('account') },
      environment: { HTTPS_PROXY: `http://me:${secret('proxy')}@proxy.example:3128` },
    },
  });
  const basic = Buffer.from(`me:${secret('basic')}`).toString('base64');
  const senders: Record<string, string>[] = [
    { Authorization: `Basic ${basic}`, Cookie: `session=${secret('cookie')}` },
    { Authorization: `Bearer ${secret('bearer')}` },
    { 'User-Agent': `tool (https://me:${secret('agent')}@host.example) token=${secret('agent')}` },
    { 'User-Agent': `tool Bearer ${secret('agent')}` },
    { 'X-Request-Id': JWT },
    { 'X-Request-Id': `token=${secret('id')}` },
    { 'X-Forwarded-For': secret('forwarded'), 'X-Forwarded-Host': `me:${secret('host')}@x` },
    { traceparent: secret('traceparent') },
  ];
  const query = `?X-Amz-Signature=${secret('signature')}&token=${secret('query')}`;
  const answers = [];
  for (const headers of senders) {
    answers.push(await manifest('latest', { headers }));
    answers.push(await manifest(`latest${query}`, { headers }));
    answers.push(await ask(`/elsewhere${query}`, { headers }));
    answers.push(await ask(`/v2/Wrong/manifests/v1${query}`, { headers }));
    // Its client is told its own words; the log is read by others.
    await ask(`/v2/library/app/manifests/v1?ns=${JWT}`, { headers });
    answers.push(await ask(`/token=${secret('path')}`, { headers }));
    answers.push(await ask('/v2/', { headers, method: 'PUT' }));
  }
  for (const { digest } of image.blobs)
    answers.push(await ask(`/v2/library/app/blobs/${digest}${query}`));
  const said = `bad ${secret('account')}, see https://me:${secret('error')}@x.example/?sig=${secret('error')} ${JWT}`;
  for (const status of [401, 403, 429, 500]) {
    registry.status('library/app/manifests/', status, { ...always, body: said });
    answers.push(await manifest(`v${status}`));
  }
  registry.status('GET token', 403, { ...always, body: said });
  answers.push(await ask('/v2/library/other/manifests/v1'));
  const { adminUrl } = mirror.server;
  for (const path of ['/metrics', '/api/v1/status', '/api/v1/images', '/readyz']) {
    answers.push(await get(`${adminUrl}${path}`));
  }
  await mirror.stop();
  t.true(collector.spans.length > 100);
  const shown = [
    ...mirror.log.flatMap((line) => [JSON.stringify(line), lineForPeople(line, false)]),
    ...answers.map(({ rawHeaders, body }) => `${rawHeaders.join('\n')}\n${body.toString()}`),
    ...collector.bodies.map((body) => body.toString('latin1')),
  ];
  // Content is as the upstream has it, and holds none of these.
  t.deepEqual(
    shown.filter((text) => SHOWN.test(text)).map((text) => text.slice(0, 2000)),
    [],
  );
});
