/** `policy refused`: what is kept here and would be refused, by what is held. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { findRefused } from '../../src/admin/refused-images.ts';
import type { RefusedPage } from '../../src/api/admission-api.ts';
import { KeyHolder } from '../admission/signing.ts';
import { claimPort } from '../helpers/claim-port.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { AccessSite } from './run-access.ts';

const RULES = `admission:
  trust: { keys: { release: { file: cosign.pub } } }
  rules:
    - { images: ['hub.example/org/**'], mode: enforce, signedBy: [{ key: release }] }
    - { images: ['hub.example/**'], mode: audit, signedBy: [{ key: release }] }
`;

test('policy refused lists what a pin, a list of images in use or the configuration keeps, with who keeps it and why; nobody is asked', async (t) => {
  const registry = await FakeRegistry.start(t);
  const signer = new KeyHolder();
  const yaml = [
    `listen: 127.0.0.1:0\nadmin: 127.0.0.1:${await claimPort()}`,
    'store: { minFreeBytes: 0 }\ndefaultUpstream: hub.example',
    `upstreams: { hub.example: { url: '${registry.url}' } }\n`,
  ].join('\n');
  const site = new AccessSite(t, yaml, { 'cosign.pub': signer.pem });
  const server = await site.serve();
  const pull = async (name: string): Promise<string> => {
    const image = buildImage({ seed: name, layers: [10] });
    registry.addImage(name, 'v1', image);
    if (name === 'org/signed') signer.attach(registry, name, image.manifest);
    t.is((await get(`${server.url}/v2/${name}/manifests/v1`)).status, 200);
    await get(`${server.url}/v2/${name}/referrers/${image.manifest.digest}`);
    return image.manifest.digest;
  };
  const [pinned, , used] = [
    await pull('org/pinned'),
    await pull('org/signed'),
    await pull('team/used'),
    await pull('org/unpinned'),
  ];
  for (const name of ['org/pinned:v1', 'org/signed:v1']) await site.run('pin', name);
  writeFileSync(join(site.cwd, 'images.txt'), 'hub.example/team/used:v1\n');
  await site.run('pin', '--in-use', 'images.txt', '--source', 'cluster');
  const none = await site.run('policy', 'refused');
  t.deepEqual(none, {
    code: 0,
    stdout:
      'nothing that is pinned, in use, kept by sync or brought by a bundle would be refused\n',
    stderr: '',
  });

  site.write(yaml + RULES);
  server.reload();
  // What carries the signature is held once it was asked for.
  t.is((await get(`${server.url}/v2/org/signed/manifests/v1`)).status, 200);
  registry.clear();
  const all = await site.run('policy', 'refused', '--json');
  t.is(all.code, 1);
  const { images } = JSON.parse(all.stdout) as RefusedPage;
  t.deepEqual(
    images.map(({ image, isAllowed, tags, pins, rules }) => [
      image,
      isAllowed,
      tags,
      pins.map(({ origin }) => origin),
      rules.map(({ place, mode }) => `${place} ${mode}`),
    ]),
    [
      [
        `hub.example/org/pinned@${pinned}`,
        false,
        ['v1'],
        ['hand'],
        ['admission.rules[0] enforce', 'admission.rules[1] audit'],
      ],
      [
        `hub.example/team/used@${used}`,
        true,
        ['v1'],
        ['use:cluster'],
        ['admission.rules[1] audit'],
      ],
    ],
  );
  t.deepEqual(registry.conversation(), []);
  const text = await site.run('policy', 'refused');
  t.regex(text.stdout, /^IMAGE +TAGS +RULE +STATE +KEPT +WHY$/m);
  t.regex(
    text.stdout,
    /^hub\.example\/org\/pinned@\S+ +v1 +admission\.rules\[0\] +refused +by hand +signedBy: it has no signature$/m,
  );
  t.regex(
    text.stdout,
    /^hub\.example\/team\/used@\S+ +v1 +admission\.rules\[1\] +audit, would be refused +in use by cluster +/m,
  );

  const first = await site.run('policy', 'refused', '--limit', '1');
  t.notRegex(first.stdout, /team\/used/);
  t.is(first.stderr, 'no more than 1 image is shown: --limit shows more\n');
  const url = `${server.adminUrl}/api/v1/admission/refused`;
  const page = async (query: string) =>
    JSON.parse(String((await get(`${url}?${query}`)).body)) as RefusedPage;
  const { next = '' } = await page('limit=1');
  t.is(next, `hub.example/org/pinned@${pinned}`);
  const rest = await page(new URLSearchParams({ after: next }).toString());
  t.deepEqual(
    rest.images.map(({ image }) => image),
    [`hub.example/team/used@${used}`],
  );
  t.is(rest.next, undefined);
  await site.run('unpin', 'org/pinned:v1');
  // What only audits would refuse is told, and no failure.
  t.is((await site.run('policy', 'refused')).code, 0);
});

test('a page of what would be refused judges 1,000 images at most, and says where the next one begins', async (t) => {
  let judged = 0;
  const store = {
    async *kept(after?: string) {
      const first = after === undefined ? 0 : Number(after.slice('hub.example/app-'.length)) + 1;
      for (let at = first; at < 1500; at += 1) {
        yield { image: `hub.example/app-${at}`, tags: [], pins: [] };
      }
    },
    findHeld: async () => new Set<string>(),
  };
  const untaken = () => [];
  const admission = {
    report: async (image: string) => {
      judged += 1;
      return { image, isAllowed: true, rules: [] };
    },
  };
  const first = await findRefused({ store, admission, untaken }, { after: undefined, limit: 10 });
  t.deepEqual(first, { images: [], next: 'hub.example/app-999' });
  t.is(judged, 1000);
  t.deepEqual(await findRefused({ store, admission, untaken }, { after: first.next, limit: 10 }), {
    images: [],
  });
  t.is(judged, 1500);
});
