/** All who may ask, by what they show. */
import { HOUR, MINUTE } from '../helpers/clock.ts';
import { serviceAccount } from './fake-issuer.ts';
import {
  basic,
  bearer,
  CLUSTER,
  createToken,
  DESK,
  HUB,
  INSIDE,
  PROVIDER,
  revokeToken,
  scopesOf,
  tokenByForm,
  tokenFor,
  writeUsers,
  type Identity,
  type World,
} from './world.ts';

const DAY = 24 * HOUR;

/** A line here is asked for everything, everywhere. */
export async function identitiesOf(world: World): Promise<Readonly<Record<string, Identity>>> {
  const { mirror } = world;
  const [ci, past] = [await createToken(mirror, 'ci'), await createToken(mirror, 'ci')];
  const all = scopesOf((upstream, repository) => `${upstream}/${repository}`).join(' ');
  const pastBearer = await tokenByForm(mirror, {
    grant_type: 'refresh_token',
    refresh_token: past.secret,
    scope: all,
  });
  await revokeToken(mirror, past.id);
  const davesBearer = await tokenFor(mirror, basic('dave', 'dave'));
  writeUsers(world.htpasswd, { alice: 'alice', bob: 'bob', keeper: 'keeper', dave: 'another' });
  const expired = await tokenFor(mirror, basic('alice', 'alice'));
  world.clock.advance(6 * MINUTE);
  const alice = await tokenFor(mirror, basic('alice', 'alice'));
  const account = async (namespace: string, at = world.clock.wall()): Promise<string> =>
    world.cluster.sign(serviceAccount(CLUSTER, { at, namespace, account: 'builder' }));
  const person = async (groups: readonly string[]): Promise<string> => {
    const now = Math.floor(world.clock.wall() / 1000);
    const times = { iat: now, exp: now + 3_600 };
    return world.provider.sign({ iss: PROVIDER, aud: 'entrepot', sub: 'carol', groups, ...times });
  };
  const builder = await account('team-a');
  const key = JSON.stringify({ type: 'entrepot_key', id: ci.id, secret: ci.secret });
  return {
    nobody: { headers: {}, who: 'nobody' },
    'nobody inside': { headers: { 'x-forwarded-for': INSIDE }, who: 'inside' },
    'foreign pair': { headers: basic('hub-user', 'secret of the hub'), who: 'nobody' },
    'foreign pair inside': {
      headers: { ...basic('hub-user', 'secret of the hub'), 'x-forwarded-for': INSIDE },
      who: 'inside',
    },
    'wrong password': { headers: basic('alice', 'wrong'), who: 'nobody' },
    'empty pair': { headers: basic('', ''), who: 'nobody' },
    'no scheme': { headers: { authorization: 'alice' }, who: 'nobody' },
    'other scheme': { headers: { authorization: 'Digest username="alice"' }, who: 'nobody' },
    bob: { headers: basic('bob', 'bob'), who: 'bob' },
    'bob by token': {
      headers: bearer(await tokenFor(mirror, basic('bob', 'bob'))),
      who: 'bob',
      isToken: true,
    },
    alice: { headers: basic('alice', 'alice'), who: 'alice' },
    'alice at her desk': {
      headers: { ...basic('alice', 'alice'), 'x-forwarded-for': `1.2.3.4, ${DESK}` },
      who: 'alice at desk',
    },
    'alice by token': { headers: bearer(alice), who: 'alice', isToken: true },
    'alice by token at her desk': {
      headers: { ...bearer(alice), 'x-forwarded-for': DESK },
      who: 'alice at desk',
      isToken: true,
    },
    'alice by a token without registries': {
      headers: bearer(
        await tokenFor(
          mirror,
          basic('alice', 'alice'),
          scopesOf((_, repository) => repository),
        ),
      ),
      who: 'alice',
      isToken: true,
    },
    'alice by a token for another one': {
      headers: bearer(
        await tokenFor(mirror, basic('alice', 'alice'), [`repository:${HUB}/team/other:pull`]),
      ),
      who: 'alice',
      isNarrow: true,
      isToken: true,
    },
    'nobody by token': {
      headers: bearer(await tokenFor(mirror, {})),
      who: 'nobody',
      isToken: true,
    },
    'expired token': { headers: bearer(expired), who: 'nobody' },
    'damaged token': { headers: bearer(`${alice.slice(0, -4)}AAAA`), who: 'nobody' },
    'token of an old password': { headers: bearer(davesBearer), who: 'nobody' },
    'API token': { headers: bearer(ci.secret), who: 'ci' },
    'API token as password': { headers: basic('anything', ci.secret), who: 'ci' },
    'key file': { headers: basic('_json_key', key), who: 'ci' },
    'token of an API token': {
      headers: bearer(
        await tokenByForm(mirror, {
          grant_type: 'refresh_token',
          refresh_token: ci.secret,
          scope: all,
        }),
      ),
      who: 'ci',
      isToken: true,
    },
    'revoked API token': { headers: bearer(past.secret), who: 'nobody' },
    'token of a revoked API token': { headers: bearer(pastBearer), who: 'nobody' },
    'service account': { headers: basic('anything', builder), who: 'ci' },
    'service account by its own bearer': { headers: bearer(builder), who: 'ci' },
    'token of a service account': {
      headers: bearer(
        await tokenByForm(mirror, {
          grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
          assertion: builder,
          scope: all,
        }),
      ),
      who: 'ci',
      isToken: true,
    },
    'member of a group': { headers: basic('anything', await person(['devs', 'ops'])), who: 'dev' },
    'member of a group by token': {
      headers: bearer(await tokenFor(mirror, basic('x', await person(['devs'])))),
      who: 'dev',
      isToken: true,
    },
    'member of another group': { headers: bearer(await person(['devs2'])), who: 'stranger' },
    'service account of another namespace': {
      headers: basic('anything', await account('team-b')),
      who: 'stranger',
    },
    'service account of yesterday': {
      headers: bearer(await account('team-a', world.clock.wall() - DAY)),
      who: 'nobody',
    },
    'foreign key file': {
      headers: basic('_json_key', JSON.stringify({ type: 'service_account' })),
      who: 'nobody',
    },
    keeper: { headers: basic('keeper', 'keeper'), who: 'keeper' },
  };
}
