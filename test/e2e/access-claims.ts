import type { ExecutionContext } from 'ava';
import { startAccessWorld, type AccessWorld } from './access-world.ts';
import type { LoginClient } from './login-client.ts';
import type { suite } from './suite.ts';

/** What clients say of an answer that is 401 or 404; not of a program or file that is not there. */
export const REFUSED = {
  message: /unauthorized|denied|unknown|: not found|authentication required|invalid username/i,
};

export interface AccessSubject {
  readonly name: string;
  /** It shows what it is given before it keeps it, and says when that counts for nothing. */
  readonly asksAtLogin: boolean;
  readonly start: (world: AccessWorld) => Promise<LoginClient>;
}

/** What holds of every client where the mirror asks who is there. */
export function claimAccess(run: ReturnType<typeof suite>, subject: AccessSubject): void {
  const { name, start } = subject;

  run(
    `${name}: who may pull does, cold and held; nobody else does, nor after a logout`,
    async (t) => {
      const world = await startAccessWorld(t);
      const { images, password, apiToken, keyFile, stranger, origin } = world;
      const { byTag: closed } = images.oci;
      const client = await start(world);
      // Cold: nobody is told by the upstream either.
      await t.throwsAsync(client.pull(closed), REFUSED);
      t.deepEqual(await origin.takeRequests(), []);
      await client.pull(images.docker.byTag);
      for (const login of [password, apiToken, keyFile]) {
        await client.login(login);
        await client.pull(closed);
        await client.pull(images.oci.byDigest);
        await client.logout();
        await t.throwsAsync(client.pull(closed), REFUSED, login.user);
      }
      await client.login(stranger);
      await t.throwsAsync(client.pull(closed), REFUSED);
      await t.throwsAsync(client.pull(images.oci.byDigest), REFUSED);
      await client.pull(images.docker.byTag);
      // With one login several repositories, each of which asks for more than the token before was for.
      await client.login(apiToken);
      await client.pull(closed, images.other.byTag, images.docker.byTag);
      await client.logout();
      await t.throwsAsync(client.pull(images.docker.byTag, images.other.byTag), REFUSED);
    },
  );

  run(`${name}: without an upstream the rules are the same`, async (t) => {
    const world = await startAccessWorld(t);
    const { images, password, apiToken, stranger, origin, mirror, guarded } = world;
    const { byTag: closed } = images.oci;
    const client = await start(world);
    await client.pull(images.docker.byTag);
    await client.login(password);
    await client.pull(closed);
    await origin.stop();
    await client.pull(closed);
    await mirror.restart({ ...guarded, offline: true }, 'SIGKILL');
    for (const login of [password, apiToken]) {
      await client.login(login);
      await client.pull(closed);
    }
    await client.logout();
    await client.pull(images.docker.byTag);
    await t.throwsAsync(client.pull(closed), REFUSED);
    await client.login(stranger);
    await t.throwsAsync(client.pull(closed), REFUSED);
  });

  run(`${name}: a pull secret of the upstream does not keep away what is open`, async (t) => {
    const world = await startAccessWorld(t);
    const { images, foreign, mirror } = world;
    const client = await start(world);
    const google = { user: '_json_key', secret: '{"type":"service_account","private_key":"pk"}' };
    for (const secret of [foreign, google]) {
      if (subject.asksAtLogin) await t.throwsAsync(client.login(secret), REFUSED);
      await client.keep(secret);
      await client.pull(images.docker.byTag);
      await t.throwsAsync(client.pull(images.oci.byTag), REFUSED);
    }
    await assertUnknown(t, mirror, [foreign.secret, 'private_key']);
  });
}

async function assertUnknown(
  t: ExecutionContext,
  mirror: AccessWorld['mirror'],
  secrets: readonly string[],
): Promise<void> {
  const log = await mirror.log();
  t.true(log.includes('"anonymous"'));
  for (const secret of secrets) t.false(log.includes(secret));
}
