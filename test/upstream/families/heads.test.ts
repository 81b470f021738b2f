import test from 'ava';
import { FAMILIES } from '../../helpers/families/all.ts';
import {
  GET_APP,
  HEAD_LATEST,
  heard,
  spoken,
  startFamily,
  usualLogin,
} from '../../helpers/family.ts';
import type { FakeRegistry } from '../../helpers/fake-registry.ts';
import { REPOSITORY } from '../../helpers/scene.ts';

const always = { times: Infinity, method: 'HEAD' } as const;
const GET_LATEST = `GET /v2/${REPOSITORY}/manifests/latest`;

/** What a HEAD of a manifest lacks, and what the mirror asks instead to answer GET of a tag. */
const QUIRKS: [claim: string, strike: (registry: FakeRegistry) => void, then: string][] = [
  ['HEAD is 405', (registry) => registry.status('latest', 405, always), GET_LATEST],
  [
    'HEAD has no digest',
    (registry) => registry.omitHeaders('latest', ['Docker-Content-Digest'], always),
    GET_LATEST,
  ],
  [
    'HEAD has no length',
    (registry) => registry.omitHeaders('latest', ['Content-Length'], always),
    GET_APP,
  ],
];

for (const family of FAMILIES) {
  const login = usualLogin(family);
  for (const [claim, strike, then] of QUIRKS) {
    test(`${family.name}: where ${claim}, a GET tells`, async (t) => {
      const { registry, manifest, image } = await startFamily(t, family, login);
      strike(registry);
      const answer = await manifest('latest');
      t.deepEqual(answer.body, image.manifest.bytes);
      t.is(answer.headers['docker-content-digest'], image.manifest.digest);
      t.deepEqual(spoken(registry), heard(family, login, [HEAD_LATEST, then]));
    });
  }
}
