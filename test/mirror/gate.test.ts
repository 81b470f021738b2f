import test from 'ava';
import type { Gate } from '../../src/mirror/mirror.ts';
import { RegistryError } from '../../src/oci/errors.ts';
import { formatTarget } from '../../src/oci/reference.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';

test('a manifest that the gate refuses leaves by no way: GET and HEAD, tag and digest, cold and held', async (t) => {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 1, layers: [1000] });
  const other = buildImage({ seed: 2, layers: [1000] });
  registry.addImage('team/app', 'v1', image);
  registry.addImage('team/other', 'v1', other);
  registry.addImage('team/free', 'v1', image);
  const asked: string[] = [];
  const gate: Gate = {
    isJudged: ({ repository }) => repository !== 'team/free',
    passTag: async ({ target, digest }, askedAt) => {
      await gate.pass(target, digest, askedAt);
      return digest;
    },
    pass: async (target, digest) => {
      asked.push(`${formatTarget(target)}@${digest}`);
      if (digest !== image.manifest.digest) return;
      throw new RegistryError('DENIED', { message: 'refused by a rule' });
    },
    passBlob: async () => {},
  };
  const mirror = await startMirror(t, {
    upstreams: { 'reg.example': { url: registry.url } },
    gate,
  });
  const manifest = (repository: string, reference: string): string =>
    `${mirror.url}/v2/${repository}/manifests/${reference}`;
  const ways = [
    { method: 'HEAD', reference: 'v1' },
    { method: 'HEAD', reference: image.manifest.digest },
    { method: 'GET', reference: image.manifest.digest },
    { method: 'GET', reference: 'v1' },
  ] as const;
  for (const when of ['cold', 'held']) {
    for (const { method, reference } of ways) {
      const answer = await get(manifest('team/app', reference), { method });
      t.is(answer.status, 403, `${when}: ${method} ${reference}`);
      t.is(answer.headers['docker-content-digest'], undefined);
      if (method === 'GET') t.regex(answer.body.toString(), /"DENIED".*refused by a rule/);
    }
  }
  t.is((await get(manifest('team/other', 'v1'))).status, 200);
  // What it has nothing to say of leaves unasked.
  for (const { method, reference } of ways) {
    t.is((await get(manifest('team/free', reference), { method })).status, 200);
  }
  t.deepEqual(asked, [
    ...Array<string>(2 * ways.length).fill(`reg.example/team/app@${image.manifest.digest}`),
    `reg.example/team/other@${other.manifest.digest}`,
  ]);
});
