import { pullWhole } from './pull-claims.ts';
import type { Subject } from './pull-claims.ts';
import type { suite } from './suite.ts';
import { startWorld } from './world.ts';

/** What the mirror promises to clients that use more than one registry. */
export function claimRegistries(run: ReturnType<typeof suite>, { name, start }: Subject): void {
  run(`${name}: one name in two registries is two images, each from its own`, async (t) => {
    const world = await startWorld(t);
    const { oci, other } = world.images;
    const client = await start(world);

    await pullWhole(t, client, oci, oci.byTag);
    t.is(await world.otherOrigin.connections(), 0);
    await world.origin.stop();
    await pullWhole(t, client, other, other.byTag);
    await world.otherOrigin.stop();
    await pullWhole(t, client, oci, oci.byTag);
    await pullWhole(t, client, other, other.byTag);
  });
}
