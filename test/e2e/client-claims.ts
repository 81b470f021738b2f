import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { issueCertificates } from '../helpers/certificate.ts';
import { formatImage, type ImageName } from './client.ts';
import type { suite } from './suite.ts';
import { startWorld, type World } from './world.ts';

export interface PrintedSubject {
  /** The client, with what it is. */
  readonly name: string;
  /** As `entrepot clients` names it. */
  readonly kind: string;
  /** What must be on its machine before. */
  readonly prepare?: string;
  /** Whether it pulls from all registries through the mirror, or from Docker Hub alone. */
  readonly pullsAll: boolean;
  /** Started on the files that are there by then; rejects when a pull fails. */
  readonly start: (world: World) => Promise<(image: ImageName) => Promise<unknown>>;
}

const ADDRESS = '127.0.0.1:8080';

/**
 * A client with the files that `entrepot clients` writes pulls through the mirror, over plain http and over
 * TLS of an own authority; its machine reaches no registry beside it.
 */
export function claimPrinted(run: ReturnType<typeof suite>, subject: PrintedSubject): void {
  for (const scheme of ['http', 'https'] as const) {
    for (const flags of [[], ['--no-fallback']]) {
      const how = [scheme, ...flags].join(' ');
      run(`${subject.name}: pulls with what clients ${subject.kind} wrote, ${how}`, async (t) => {
        const world = await startWorld(t);
        const authority = scheme === 'https' ? await serveTls(world) : [];
        await pullAsWritten(t, world, { ...subject, flags: [...authority, ...flags] });
      });
    }
  }
}

/** The arguments that name the authority. */
async function serveTls({ netns, mirror, settings }: World): Promise<string[]> {
  const { ca, issued } = await issueCertificates({ server: {} });
  const path = (name: string): string => join(netns.directory, name);
  await writeFile(path('ca.crt'), ca);
  await writeFile(path('tls.crt'), issued.server.cert);
  await writeFile(path('tls.key'), issued.server.key);
  const tls = { cert: path('tls.crt'), key: path('tls.key') };
  await mirror.restart({ ...settings, listen: { address: ADDRESS, tls } }, 'SIGTERM');
  return ['--ca', path('ca.crt')];
}

async function pullAsWritten(
  t: ExecutionContext,
  world: World,
  { kind, flags, prepare, pullsAll, start }: PrintedSubject & { readonly flags: readonly string[] },
): Promise<void> {
  const { netns, mirror, images, origin, otherOrigin } = world;
  if (prepare !== undefined) await netns.run('sh', '-c', prepare);
  const written = await mirror.command('clients', kind, ...flags, '--write');
  t.is(written.code, 0, written.output);
  const checked = await mirror.command('clients', kind, ...flags, '--check');
  t.is(checked.code, 0, checked.output);
  await origin.takeRequests();
  await otherOrigin.takeRequests();

  const pull = await start(world);
  await pull(images.oci.byTag);
  t.true((await origin.takeRequests()).length > 0, formatImage(images.oci.byTag));
  if (!pullsAll) return;
  await pull(images.other.byTag);
  t.true((await otherOrigin.takeRequests()).length > 0, formatImage(images.other.byTag));
}
