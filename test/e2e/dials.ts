import type { World } from './world.ts';

export interface DialsBeyondTheMirror {
  /** Connections the registries accepted: nobody but the mirror knows their ports. */
  readonly toRegistries: number;
  /** Connections begun that nobody accepted. */
  readonly toNobody: number;
  /** Datagrams sent (name look-ups), and attempts to reach what is beyond loopback. */
  readonly outside: number;
}

export const NO_DIALS: DialsBeyondTheMirror = { toRegistries: 0, toNobody: 0, outside: 0 };

/** What the kernel and the registries counted while `act` ran, in a namespace where clients dial the mirror only. */
export async function countDials(
  { netns, origin, otherOrigin }: World,
  act: () => Promise<void>,
): Promise<DialsBeyondTheMirror> {
  const count = async () => {
    const { opened, accepted, datagrams, unroutable } = await netns.dials();
    return {
      toRegistries: (await origin.connections()) + (await otherOrigin.connections()),
      toNobody: opened - accepted,
      outside: datagrams + unroutable,
    };
  };
  const before = await count();
  await act();
  const after = await count();
  return {
    toRegistries: after.toRegistries - before.toRegistries,
    toNobody: after.toNobody - before.toNobody,
    outside: after.outside - before.outside,
  };
}
