import type Koa from 'koa';
import { pino } from 'pino';
import { createAdminApp, type AdminParts } from '../../src/admin/admin-app.ts';
import type { ServerStatus } from '../../src/api/status-api.ts';
import { splitTarget } from '../../src/oci/reference.ts';
import { Audit } from '../../src/observe/audit.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { FakeDraftApi } from './fake-draft-api.ts';
import { FakeLayoutApi } from './fake-layout-api.ts';
import { FakeIntakeApi } from './fake-intake-api.ts';
import { FakeStoreApi } from './fake-store-api.ts';
import { FakeSyncApi } from './fake-sync-api.ts';
import { FakeWarmApi } from './fake-warm-api.ts';

export const SERVER_STATUS: ServerStatus = {
  version: '1.2.3',
  uptimeSeconds: 273_600,
  offline: false,
  store: { path: '/srv/store', maxBytes: 107_374_182_400, blobs: 9, bytes: 60_001_500 },
  downloads: 0,
  cache: { requests: 1204, hits: 1050, hitRatio: 1050 / 1204 },
  upstreams: [],
};

/** The admin application in front of fakes, or of the parts that are given. */
export function createFakeAdmin(parts: Partial<AdminParts>): Koa {
  return createAdminApp({
    metrics: new Metrics(),
    unreadyReason: () => undefined,
    status: () => SERVER_STATUS,
    store: new FakeStoreApi(),
    sync: new FakeSyncApi(),
    warm: new FakeWarmApi(),
    bundles: {
      inventory: { make: async () => Buffer.from('inventory') },
      drafts: new FakeDraftApi(),
      imports: new FakeIntakeApi(),
      layouts: new FakeLayoutApi(),
    },
    access: () => undefined,
    admission: { report: async (image) => ({ image, isAllowed: true, rules: [] }) },
    resolve: splitTarget,
    audit: new Audit(undefined, { lost: () => {}, failed: () => {}, renewed: () => {} }),
    tokens: {
      tokens: () => [],
      createToken: async (wish) => ({ ...wish, id: 't1', createdAt: 0, secret: 'ent_secret' }),
      revokeToken: async () => false,
    },
    reload: () => ({ changed: [], restart: [], warnings: [] }),
    host: '127.0.0.1',
    log: pino({ level: 'silent' }),
    ...parts,
  });
}
