import { appendFile, readFile, utimes, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { HOUR } from '../helpers/clock.ts';
import type { Stored } from '../helpers/image.ts';
import { blobPath, type TestMirror } from '../helpers/mirror.ts';
import { until } from '../helpers/until.ts';
import { bring, bundleOf } from '../sync/bundle/brought-bundle.ts';
import { sendError } from '../admission/vulnerabilities/fake-adapter.ts';
import { credential, MIB, type ObservedSite } from './observed-site.ts';

/** What is done to a mirror, and what makes it well again. */
export interface Cause {
  readonly alerts: readonly string[];
  /** The mirror that it is done to, and no other. */
  readonly on: keyof ObservedSite['targets'];
  readonly begin: (all: ObservedSite) => Promise<unknown> | void;
  /** Left out: it ends with the alert's window. */
  readonly end?: (all: ObservedSite) => Promise<unknown> | void;
}

const FOREVER = { times: Infinity };
const APP = 'library/app/manifests/v1';

/** Side by side. */
export const ALERT_CAUSES: readonly Cause[] = [
  {
    alerts: ['EntrepotUpstreamDown', 'EntrepotErrors'],
    on: 'site',
    begin: async (all) => {
      await all.registries['quay.io'].refuse();
      all.repeat('cold', async (turn) =>
        all.ask(all.site, 'quay.io', `library/cold${turn}/manifests/v1`),
      );
    },
    end: async (all) => {
      all.stop('cold');
      await all.registries['quay.io'].accept();
      all.repeat('back', async () => all.ask(all.site, 'quay.io', APP));
    },
  },
  {
    alerts: ['EntrepotSlowHits'],
    on: 'site',
    begin: (all) => {
      all.publish('docker.io', 'library/slow', 'v1');
      all.slowMs = 1500;
      all.repeat('slow', async () => all.ask(all.site, 'docker.io', 'library/slow/manifests/v1'));
    },
    end: (all) => {
      all.slowMs = 0;
    },
  },
  {
    alerts: ['EntrepotLoginRefused'],
    on: 'site',
    begin: async (all) => {
      all.registries['login.example'].status(/./, 401, FOREVER);
      await all.ask(all.site, 'login.example', 'library/app/manifests/v2');
    },
    end: (all) => {
      all.registries['login.example'].heal();
      all.repeat('login', async () => all.ask(all.site, 'login.example', APP));
    },
  },
  {
    alerts: ['EntrepotTokenFailures'],
    on: 'site',
    begin: (all) => {
      all.registries['tokens.example'].status(/token/, 500, { ...FOREVER, origin: 'token' });
      all.repeat('tokens', async (turn) =>
        all.ask(all.site, 'tokens.example', `library/app${turn}/manifests/v1`),
      );
    },
    end: (all) => {
      all.registries['tokens.example'].heal();
    },
  },
  {
    alerts: ['EntrepotQuotaLow', 'EntrepotQuotaEnds'],
    on: 'site',
    begin: (all) => {
      all.registries['docker.io'].rateLimit({ limit: 30_000, remaining: 2500 });
      all.repeat('quota', async (turn) => {
        all.publish('docker.io', 'library/many', `v${turn}`);
        await all.ask(all.site, 'docker.io', `library/many/manifests/v${turn}`);
      });
    },
    end: async (all) => {
      all.stop('quota');
      all.registries['docker.io'].rateLimit({ limit: 30_000, remaining: 30_000 });
      all.publish('docker.io', 'library/many', 'last');
      await all.ask(all.site, 'docker.io', 'library/many/manifests/last');
    },
  },
  {
    alerts: ['EntrepotLimited'],
    on: 'site',
    begin: async (all) => {
      all.registries['ghcr.io'].status('/v2/library/limited/manifests/v1', 429, FOREVER);
      await all.ask(all.site, 'ghcr.io', 'library/limited/manifests/v1');
    },
  },
  {
    alerts: ['EntrepotWrongBytes'],
    on: 'site',
    begin: async (all) => {
      const layer = all.publish('ghcr.io', 'library/lies', 'v1', [5000]).layer(0);
      all.registries['ghcr.io'].corrupt(layer, { at: 10 });
      const lie = all.ask(all.site, 'ghcr.io', `library/lies/blobs/${layer.digest}`);
      await lie.catch(() => undefined);
    },
  },
  {
    alerts: ['EntrepotTagMoved', 'EntrepotGoneUpstream'],
    on: 'site',
    begin: async (all) => {
      for (let turn = 0; turn < 2; turn++) {
        all.publish('ghcr.io', 'library/moves', 'v1');
        await all.ask(all.site, 'ghcr.io', 'library/moves/manifests/v1');
      }
      all.registries['ghcr.io'].untag('library/moves', 'v1');
      await all.ask(all.site, 'ghcr.io', 'library/moves/manifests/v1');
    },
  },
  {
    alerts: ['EntrepotDamage'],
    on: 'site',
    begin: async (all) => {
      const spoilt = blobPath(all.site.storePath, all.image.layer(0).digest);
      const whole = await readFile(spoilt);
      await spoil(spoilt);
      await all.command(all.site, 'verify');
      // Until it is fetched again, a run of sync would count the images that it is part of.
      const isHealed = async (): Promise<boolean> =>
        readFile(spoilt).then(
          (found) => found.equals(whole),
          () => false,
        );
      await until('the damage is mended', isHealed);
      await all.site.idle();
    },
  },
  {
    alerts: ['EntrepotSyncNotReady', 'EntrepotSyncFails'],
    on: 'site',
    begin: async (all) => {
      const layer = all.publish('wanted.example', 'site/wanted', 'v2', [50_000]).layer(0);
      all.registries['wanted.example'].remove(layer);
      missing.push(layer);
      await all.command(all.site, 'sync/run');
    },
    end: async (all) => {
      for (const layer of missing) {
        all.registries['wanted.example'].addBlob('site/wanted', layer);
      }
      await all.command(all.site, 'sync/run');
    },
  },
  {
    alerts: ['EntrepotPasswordsGuessed'],
    on: 'small',
    begin: async ({ small }) => {
      for (let guess = 0; guess < 100; guess += 1) {
        const pair = Buffer.from(`nobody:${guess}`).toString('base64');
        await fetch(`${small.url}/token`, { headers: { authorization: `Basic ${pair}` } });
      }
    },
  },
  {
    alerts: ['EntrepotAuditLost'],
    on: 'disk',
    begin: async (all) => {
      await all.ask(all.disk, 'plain.example', APP);
    },
  },
  {
    alerts: ['EntrepotBundleRefused'],
    on: 'site',
    begin: async (all) => {
      await bring(all.site, Buffer.from('no part of a bundle'));
    },
  },
  {
    // Its store says that the last one came long ago.
    alerts: ['EntrepotBundleLate'],
    on: 'small',
    begin: () => undefined,
    end: async (all) => {
      const bundle = bundleOf([], { files: { note: Buffer.from('all is well') } });
      await bring(all.small, await bundle.part(1));
    },
  },
  {
    alerts: ['EntrepotAdmissionRefuses'],
    on: 'small',
    begin: async (all) => {
      for (const repository of ['library/enforce/app', 'library/audit/app']) {
        all.publish('plain.example', repository, 'v1');
        await all.ask(all.small, 'plain.example', `${repository}/manifests/v1`);
      }
    },
  },
  {
    alerts: ['EntrepotAdmissionUnknown'],
    on: 'small',
    begin: (all) => {
      all.publish('plain.example', 'library/enforce/silent', 'v1');
      all.registries['plain.example'].status(/silent\/referrers/, 403, FOREVER);
      // So many that what cannot be judged is a small share of what the mirror answers.
      all.repeat('silent', async (turn) => {
        for (let ping = 0; ping < 10; ping += 1) await fetch(`${all.small.url}/v2/`);
        if (turn % 10 > 0) return;
        await all.ask(all.small, 'plain.example', 'library/enforce/silent/manifests/v1');
      });
    },
    end: (all) => {
      all.stop('silent');
    },
  },
  {
    alerts: ['EntrepotScannerFails', 'EntrepotScannerOld'],
    on: 'small',
    begin: (all) => {
      all.admission.scanner.onReport = (_, response) => sendError(response, 500, 'it broke');
      all.repeat('scanned', async (turn) => {
        all.publish('plain.example', 'library/scanned/app', `v${turn}`);
        await all.ask(all.small, 'plain.example', `library/scanned/app/manifests/v${turn}`);
      });
    },
    end: (all) => {
      all.admission.scanner.onReport = undefined;
      all.admission.scanner.databaseAt = new Date().toISOString();
    },
  },
  {
    // Its file says that it was written long ago.
    alerts: ['EntrepotTrustRootOld'],
    on: 'small',
    begin: () => undefined,
    end: async ({ admission }) => {
      const now = new Date();
      await utimes(admission.trustRoot, now, now);
    },
  },
  {
    alerts: ['EntrepotStoreDoesNotKeep', 'EntrepotDiskFills'],
    on: 'disk',
    begin: async (all) => {
      await all.disk.disk.fill();
      await pullLayer(all, all.disk, 4 * MIB);
    },
    end: async (all) => {
      await all.disk.disk.empty();
      await pullLayer(all, all.disk, 5 * MIB);
    },
  },
  {
    alerts: ['EntrepotStoreTooSmall'],
    on: 'small',
    begin: (all) => {
      const images = Array.from({ length: 6 }, (_, turn) =>
        all.publish('plain.example', 'library/round', `v${turn}`, [6 * MIB]),
      );
      all.repeat('round', async (turn) => {
        const at = turn % images.length;
        await all.ask(all.small, 'plain.example', `library/round/manifests/v${at}`);
        const digest = images[at]?.layer(0).digest;
        await all.ask(all.small, 'plain.example', `library/round/blobs/${digest}`);
      });
    },
    end: (all) => {
      all.stop('round');
      const hits = Array.from({ length: 20 }, () => APP);
      all.repeat('held', async () =>
        Promise.all(hits.map(async (path) => all.ask(all.small, 'plain.example', path))),
      );
    },
  },
  {
    alerts: ['EntrepotCertificateEnds'],
    on: 'edge',
    begin: async (all) => showCertificate(all, 'short'),
    end: async (all) => showCertificate(all, 'long'),
  },
  {
    alerts: ['EntrepotCredentialEnds'],
    on: 'edge',
    begin: async (all) => {
      all.cloud.answer = () => credential(30_000);
      await all.ask(all.edge, 'ecr.example', APP);
      all.cloud.answer = () => ({ status: 500, body: {} });
    },
    end: (all) => {
      all.cloud.answer = () => credential(12 * HOUR);
      all.repeat('credential', async (turn) =>
        all.ask(all.edge, 'ecr.example', `library/app/manifests/none${turn}`),
      );
    },
  },
  {
    alerts: ['EntrepotReloadRefused'],
    on: 'edge',
    begin: async (all) => {
      await appendFile(join(all.folder, 'entrepot.yaml'), 'nonsense');
      process.kill(all.edge.pid, 'SIGHUP');
    },
    end: async (all) => {
      const file = join(all.folder, 'entrepot.yaml');
      await writeFile(file, (await readFile(file, 'utf8')).replace('nonsense', ''));
      process.kill(all.edge.pid, 'SIGHUP');
    },
  },
  {
    alerts: ['EntrepotDescriptorsShort'],
    on: 'edge',
    begin: ({ edge }) => {
      const { hostname, port } = new URL(edge.url);
      for (let count = 0; count < 15; count++) sockets.push(connect(Number(port), hostname));
    },
    end: () => {
      for (const socket of sockets) socket.destroy();
    },
  },
];

const sockets: Socket[] = [];
const missing: Stored[] = [];

async function pullLayer(all: ObservedSite, mirror: TestMirror, bytes: number): Promise<void> {
  const { digest } = all.publish('plain.example', 'library/large', 'v1', [bytes]).layer(0);
  await all.ask(mirror, 'plain.example', `library/large/blobs/${digest}`);
}

async function showCertificate(all: ObservedSite, which: 'short' | 'long'): Promise<void> {
  const { folder, certificates } = all;
  const { key, cert } = certificates[which];
  await writeFile(join(folder, 'tls', 'client.key'), key);
  await writeFile(join(folder, 'tls', 'client.crt'), cert);
  await all.ask(all.edge, 'tls.example', `library/${which}/manifests/v1`);
}

async function spoil(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[0] = (bytes[0] ?? 0) ^ 1;
  await writeFile(path, bytes);
}
