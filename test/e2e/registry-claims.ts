import { pulls } from './pull-claims.ts';
import type { Subject } from './pull-claims.ts';
import type { suite } from './suite.ts';
import { startWorld } from './world.ts';

/** What the mirror promises to clients that use more than one registry. */
export function claimRegistries(run: ReturnType<typeof suite>, { name, start }: Subject): void {
  run(`${name}: one name in two registries is two images, each from its own`, async (t) => {
    const world = await startWorld(t);
    const { oci, other } = world.images;
    const pull = pulls(t, world, await start(world));

    await pull(oci);
    t.is(await world.otherOrigin.connections(), 0);
    await world.origin.stop();
    await pull(other);
    await world.otherOrigin.stop();
    await pull(oci);
    await pull(other);
  });
}
