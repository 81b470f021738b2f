/** `explain`: by which rules somebody may pull an image. */
import { hashSync } from '@node-rs/bcrypt';
import test, { type ExecutionContext } from 'ava';
import type { RuleReport } from '../../src/api/access-api.ts';
import { claimPort } from '../helpers/claim-port.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { AccessSite } from './run-access.ts';

const ALL = `  - { who: ['user:alice', 'group:devs'], may: [pull, list], images: ['hub.example/**'] }`;
const RULES = `access:
  htpasswd: { file: htpasswd }
  rules:
  - { who: ['user:bob'], may: [pull], images: ['hub.example/other/**'] }
  - { who: [anonymous], from: [10.2.0.0/16], may: [pull], images: ['hub.example/org/**'] }
  - { who: ['user:bob'], may: [list, view], images: ['hub.example/org/**'] }
${ALL}
`;

/** A server that holds `org/app:v1`. */
async function start(t: ExecutionContext, rules = RULES) {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 'app', layers: [100] });
  registry.addImage('org/app', 'v1', image);
  const yaml = [
    `listen: 127.0.0.1:0\nadmin: 127.0.0.1:${await claimPort()}\nstore: { minFreeBytes: 0 }`,
    `defaultUpstream: hub.example\nupstreams: { hub.example: { url: "${registry.url}", hydrate: false } }`,
  ].join('\n');
  const site = new AccessSite(t, `${yaml}\n${rules}`, { htpasswd: `alice:${hashSync('a', 4)}\n` });
  const server = await site.serve();
  const headers = { authorization: `Basic ${Buffer.from('alice:a').toString('base64')}` };
  const { status } = await get(`${server.url}/v2/org/app/manifests/v1`, { headers });
  t.is(status, 200);
  return { site, server, yaml, digest: image.manifest.digest };
}

test('explain says who may pull what is held, and by which rule each', async (t) => {
  const { site, digest } = await start(t);
  const lines = [
    '  access   anonymous from 10.2.0.0/16, by access.rules[1] (DIR/entrepot.yaml:10)',
    '  access   user:alice, group:devs, by access.rules[3] (DIR/entrepot.yaml:12)',
  ];
  for (const image of ['org/app:v1', 'hub.example/org/app', `org/app@${digest}`, digest]) {
    const { stdout, code, stderr } = await site.run(
      'explain',
      image === 'hub.example/org/app' ? `${image}:v1` : image,
    );
    t.is(code, 0, stderr);
    t.deepEqual(
      stdout.split('\n').filter((line) => line.includes('access')),
      lines,
      image,
    );
  }
  const { pullers } = JSON.parse((await site.run('explain', 'org/app:v1', '--json')).stdout) as {
    pullers: RuleReport[];
  };
  t.deepEqual(
    pullers.map(({ place }) => place),
    ['access.rules[1]', 'access.rules[3]'],
  );
});

test('explain says that nobody may pull what no rule gives any more', async (t) => {
  const { site, server, yaml } = await start(t);
  site.write(
    `${yaml}\n${RULES.replace(ALL, '').replace('hub.example/org/**', 'hub.example/gone/**')}`,
  );
  const told = async () => (await site.run('explain', 'org/app:v1')).stdout;
  // As the rules in force are, and not as the file is now.
  t.regex(await told(), /access {3}user:alice, group:devs, by access\.rules\[3\]$/m);
  server.reload();
  t.regex(await told(), /access {3}nobody: no rule gives it$/m);
});

test('explain says nothing of rules where there are none', async (t) => {
  const { site } = await start(t, '');
  t.notRegex((await site.run('explain', 'org/app:v1')).stdout, /access/);
});
