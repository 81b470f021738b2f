import test from 'ava';
import { FakeRegistry } from '../../helpers/fake-registry.ts';
import { CloudMirror } from './cloud-mirror.ts';

const LIBRARIES = /^(@aws-sdk|@smithy|@azure|google-auth-library|gaxios)/;
const NOWHERE = {
  AWS_EC2_METADATA_SERVICE_ENDPOINT: 'http://127.0.0.1:1',
  GCE_METADATA_HOST: '127.0.0.1:1',
  AZURE_POD_IDENTITY_AUTHORITY_HOST: 'http://127.0.0.1:1',
  PATH: '',
};

test.serial("no cloud's library is loaded for a password", async (t) => {
  const registry = await FakeRegistry.start(t, {
    auth: { kind: 'basic', username: 'me', password: 'x' },
  });
  const mirror = await CloudMirror.start(t, {
    url: registry.url,
    credentials: { provider: 'password', username: 'me', password: 'x' },
    env: NOWHERE,
  });
  t.is((await mirror.get('/v2/app/manifests/v1')).status, 404);
  const packages = await mirror.packages();
  t.true(packages.includes('koa'), 'what is loaded is seen');
  t.deepEqual(
    packages.filter((name) => LIBRARIES.test(name)),
    [],
  );
});

for (const [credentials, own, others] of [
  [
    { provider: 'ecr', region: 'eu-central-1' },
    '@aws-sdk/client-ecr',
    /client-ecr-public|@azure|google/,
  ],
  [{ provider: 'ecr-public' }, '@aws-sdk/client-ecr-public', /client-ecr$|@azure|google/],
  [{ provider: 'gcp' }, 'google-auth-library', /@azure|@aws-sdk/],
  [{ provider: 'acr' }, '@azure/identity', /google|@aws-sdk/],
] as const) {
  test.serial(
    `${own} alone is loaded, with the first question, for ${credentials.provider}`,
    async (t) => {
      const registry = await FakeRegistry.start(t, {
        auth: { kind: 'basic', username: 'me', password: 'x' },
      });
      const mirror = await CloudMirror.start(t, { url: registry.url, credentials, env: NOWHERE });
      t.deepEqual(
        (await mirror.packages()).filter((name) => LIBRARIES.test(name)),
        [],
      );
      t.is((await mirror.get('/v2/app/manifests/v1')).status, 403);
      const packages = await mirror.packages();
      t.true(packages.includes(own));
      t.deepEqual(
        packages.filter((name) => others.test(name)),
        [],
      );
      await mirror.keeps(t, []);
    },
  );
}
