import { dirname } from 'node:path';
import { defineConfig, type DummyRuleMap } from 'oxlint';

/** A folder of the house; or one of the files that put it together, a room of one file. */
export interface Room {
  /** The rooms that it imports; a room within a room: those beside it, besides what the outer one imports. */
  readonly imports: readonly string[];
  /** Its files that other rooms see; left out, they see all of them. */
  readonly facade?: readonly string[];
  /** What only who puts rooms together sees besides: the `HEADS`; of a room within a room the outer one. */
  readonly parts?: readonly string[];
}

/** Every room with what it imports, neither more nor less. Arrows point down: to a room that stands earlier here. */
export const ROOMS: Readonly<Record<string, Room>> = {
  oci: { imports: [] },
  time: { imports: [] },
  api: { imports: [] },
  config: { imports: ['oci'] },
  observe: { imports: [] },
  net: {
    imports: ['oci', 'time', 'config'],
    facade: [
      'address-class.ts',
      'authorities.ts',
      'blocks.ts',
      'connection.ts',
      'content-coding.ts',
      'deadline.ts',
      'exchange.ts',
      'one-host.ts',
      'timing.ts',
      'transport.ts',
      'via.ts',
    ],
  },
  'store/files': { imports: [], facade: ['blob-store.ts'] },
  'store/catalog': {
    imports: ['store/files'],
    facade: ['catalog.ts', 'journal-entries.ts'],
    parts: ['open-catalog.ts', 'rebuild.ts'],
  },
  'store/journal': { imports: ['store/catalog'], facade: ['journal.ts'] },
  'store/care': {
    imports: ['store/files', 'store/catalog', 'store/journal'],
    facade: [],
    parts: ['care.ts'],
  },
  store: {
    imports: ['oci', 'time', 'api', 'config', 'observe'],
    facade: [
      'care/care.ts',
      'catalog/catalog.ts',
      'catalog/describe-manifest.ts',
      'files/blob-store.ts',
      'own-file.ts',
      'store.ts',
    ],
  },
  'upstream/credentials': { imports: [], facade: ['credential.ts', 'open-credentials.ts'] },
  'upstream/checkup': { imports: ['upstream/credentials'], facade: [] },
  upstream: {
    imports: ['oci', 'time', 'api', 'config', 'observe', 'net'],
    facade: [
      'bandwidth.ts',
      'checkup/checkup.ts',
      'checkup/registry-check.ts',
      'demand.ts',
      'upstream.ts',
    ],
    parts: ['http-upstream.ts'],
  },
  'mirror/downloads': {
    imports: [],
    facade: [],
    parts: [
      'connections.ts',
      'demand.ts',
      'download.ts',
      'downloads.ts',
      'range-policy.ts',
      'shares.ts',
      'transfer-queue.ts',
    ],
  },
  mirror: {
    imports: ['oci', 'time', 'api', 'config', 'observe', 'net', 'store', 'upstream'],
    facade: [
      'addressing.ts',
      'answer.ts',
      'blobs.ts',
      'downloads/demand.ts',
      'held-manifests.ts',
      'listings.ts',
      'mirror.ts',
      'prefetcher.ts',
    ],
  },
  access: {
    imports: ['oci', 'time', 'api', 'config', 'observe', 'net', 'store'],
    facade: ['access.ts', 'bearer-tokens.ts', 'rules.ts', 'scanner-passes.ts', 'subject.ts'],
    parts: ['access-store.ts'],
  },
  'admission/signatures': {
    imports: [],
    facade: ['refused.ts', 'signed-image.ts', 'strict-json.ts'],
    parts: ['classic.ts', 'signing-key.ts', 'sigstore.ts', 'trust-root.ts'],
  },
  'admission/notation': {
    imports: ['admission/signatures'],
    facade: [],
    parts: ['notation.ts', 'trust-stores.ts'],
  },
  'admission/vulnerabilities': {
    imports: [],
    facade: [],
    parts: [
      'attested-scan.ts',
      'judgement.ts',
      'read-vex.ts',
      'report.ts',
      'scanned-form.ts',
      'scanner-adapter.ts',
      'scanner.ts',
      'scans.ts',
      'vex-files.ts',
      'vex.ts',
    ],
  },
  admission: {
    imports: ['oci', 'time', 'api', 'config', 'observe', 'net', 'store', 'mirror'],
    facade: ['signatures/trust-refresh.ts', 'signatures/trust-root.ts'],
    parts: ['admission-reports.ts', 'admission.ts'],
  },
  http: {
    imports: ['oci', 'config', 'observe', 'upstream', 'mirror', 'access'],
    facade: [],
    parts: ['answer-places.ts', 'app.ts', 'listener.ts', 'own-socket.ts'],
  },
  admin: {
    imports: ['oci', 'time', 'api', 'config', 'observe', 'store', 'mirror', 'access'],
    facade: [],
    parts: ['admin-app.ts', 'in-use-watch.ts', 'store-admin.ts'],
  },
  'sync/bundle': { imports: [], facade: [] },
  sync: {
    imports: ['oci', 'time', 'api', 'config', 'observe', 'store', 'upstream', 'mirror'],
    facade: [
      'bundle/bundle-error.ts',
      'bundle/bundle-manifest.ts',
      'bundle/content.ts',
      'bundle/counted-images.ts',
      'bundle/cut-bundle.ts',
      'bundle/envelope.ts',
      'bundle/head-pool.ts',
      'bundle/inspection.ts',
      'bundle/inventory-file.ts',
      'bundle/layout-export.ts',
      'bundle/layout-folder.ts',
      'bundle/layout-index.ts',
      'bundle/layout-writer.ts',
      'bundle/parity.ts',
      'bundle/parse-manifest.ts',
      'bundle/part-layout.ts',
      'bundle/part-reader.ts',
      'bundle/part-writer.ts',
      'bundle/signing-key.ts',
      'bundle/trusted-key.ts',
      'bundle/write-behind.ts',
      'bundle/young-buffers.ts',
      'schedule.ts',
    ],
    parts: [
      'bundle/drafts.ts',
      'bundle/imports.ts',
      'bundle/layouts.ts',
      'bundle/site-inventory.ts',
      'bundle/site-state.ts',
      'state.ts',
      'sync.ts',
      'warmer.ts',
    ],
  },
  clients: {
    imports: ['config'],
    facade: [
      'answer.ts',
      'client-kinds.ts',
      'clients.ts',
      'mirror-place.ts',
      'placing.ts',
      'recipe.ts',
      'refusal.ts',
    ],
  },
  'configured.ts': {
    imports: ['oci', 'api', 'config', 'upstream', 'mirror', 'admin'],
  },
  'reload.ts': { imports: ['oci', 'api', 'config', 'observe'] },
  'jobs.ts': {
    imports: ['oci', 'time', 'config', 'store', 'mirror', 'admin', 'sync'],
  },
  'engine.ts': {
    imports: [
      'time',
      'api',
      'config',
      'observe',
      'net',
      'store',
      'mirror',
      'access',
      'admission',
      'http',
      'admin',
      'configured.ts',
      'jobs.ts',
    ],
  },
  'server.ts': {
    imports: [
      'time',
      'api',
      'config',
      'observe',
      'net',
      'store',
      'mirror',
      'http',
      'reload.ts',
      'engine.ts',
    ],
  },
  cli: {
    imports: [
      'oci',
      'time',
      'api',
      'config',
      'observe',
      'upstream',
      'mirror',
      'admission',
      'sync',
      'clients',
      'server.ts',
    ],
    facade: [],
    parts: ['program.ts'],
  },
  'main.ts': { imports: ['cli'] },
  'entrepot.js': { imports: ['main.ts'] },
};

/** The files that put the house together. */
export const HEADS = [
  'configured.ts',
  'reload.ts',
  'jobs.ts',
  'engine.ts',
  'server.ts',
  'main.ts',
  'entrepot.js',
];

/** The only places that may import a package: one dependency, one door. */
export const DOORS: Readonly<Record<string, readonly string[]>> = {
  '@aws-sdk/client-ecr': ['src/upstream/credentials/ecr.ts'],
  '@aws-sdk/client-ecr-public': ['src/upstream/credentials/ecr.ts'],
  '@azure/identity': ['src/upstream/credentials/acr.ts'],
  '@opentelemetry/api': ['src/observe/otlp-tracer.ts'],
  '@opentelemetry/exporter-trace-otlp-proto': ['src/observe/otlp-tracer.ts'],
  '@opentelemetry/resources': ['src/observe/otlp-tracer.ts'],
  '@opentelemetry/sdk-trace': ['src/observe/otlp-tracer.ts'],
  'google-auth-library': ['src/upstream/credentials/gcp.ts'],
  koa: ['src/http', 'src/admin'],
  '@koa/router': ['src/http', 'src/admin'],
  '@noble/curves': ['src/admission/signatures/signing-key.ts'],
  '@sigstore/bundle': ['src/admission/signatures'],
  '@sigstore/core': ['src/admission/signatures', 'src/admission/notation'],
  '@sigstore/protobuf-specs': ['src/admission/signatures'],
  '@sigstore/tuf': ['src/admission/signatures/trust-refresh.ts'],
  'tuf-js': [
    'src/admission/signatures/trust-refresh.ts',
    'src/admission/signatures/tuf-fetcher.ts',
  ],
  '@sigstore/verify': ['src/admission/signatures'],
  undici: ['src/net'],
  tldts: ['src/upstream/challenge.ts'],
  level: ['src/store/catalog/tables.ts'],
  '@node-rs/bcrypt': ['src/access/passwords.ts'],
  jose: ['src/access'],
  'lru-cache': ['src/time', 'src/net', 'src/upstream', 'src/mirror', 'src/http/hot-way.ts'],
  'prom-client': ['src/observe'],
  pino: ['src/observe/log.ts'],
  commander: ['src/cli'],
  zod: ['src/config'],
  cborg: ['src/oci/strict-cbor.ts', 'src/admission/notation', 'sync/bundle'],
  'tar-stream': ['sync/bundle'],
  yaml: ['src/config/yaml.ts', 'src/clients/yaml-lines.ts'],
  'smol-toml': ['src/clients/toml.ts'],
  re2js: ['src/config'],
  scslre: ['src/config/pattern.ts'],
  semver: ['src/config', 'sync'],
  croner: ['src/config', 'sync'],
  'p-queue': [
    'src/net',
    'src/store',
    'src/upstream',
    'src/mirror',
    'src/access',
    'src/admission',
    'sync',
  ],
};

const MAY_TOUCH_PROCESS = ['src/entrepot.js', 'src/main.ts', 'src/server.ts'];

export default defineConfig({
  plugins: ['typescript', 'unicorn', 'import', 'oxc'],
  categories: { correctness: 'error', suspicious: 'error' },
  ignorePatterns: ['node_modules', 'coverage', 'data', 'dist'],
  rules: {
    'typescript/no-floating-promises': 'error',
    'typescript/no-misused-promises': ['error', { checksVoidReturn: { arguments: false } }],
    'typescript/await-thenable': 'error',
    'typescript/return-await': ['error', 'in-try-catch'],
    'typescript/switch-exhaustiveness-check': 'error',
    'typescript/only-throw-error': 'error',
    'typescript/consistent-type-imports': 'error',
    'typescript/no-explicit-any': 'error',
    'typescript/no-unnecessary-condition': 'error',
    'typescript/no-unsafe-type-assertion': 'off',
    'typescript/consistent-return': 'off',
    'unicorn/prefer-node-protocol': 'error',
    'import/no-cycle': ['error', { ignoreTypes: false }],
    'import/no-default-export': 'error',
    'import/no-unassigned-import': 'off',
    'no-shadow': 'off',
    'no-await-in-loop': 'off',
    'unicorn/consistent-function-scoping': 'off',
  },
  overrides: [
    {
      files: ['src/**', 'sync/**'],
      rules: {
        'no-restricted-globals': [
          'error',
          { name: 'process', message: 'Only main.ts and server.ts touch the process.' },
          { name: 'fetch', message: 'Other machines are reached through src/net only.' },
        ],
        'max-lines': ['error', { max: 350 }],
        'max-lines-per-function': ['error', { max: 60, skipBlankLines: true, skipComments: true }],
        'no-console': 'error',
      },
    },
    { files: MAY_TOUCH_PROCESS, rules: { 'no-restricted-globals': 'off' } },
    ...Object.keys(ROOMS).map((room) => ({
      files: [isFile(room) ? pathOf(room) : `${pathOf(room)}/*`],
      rules: wallsOf(room, pathOf(room)),
    })),
    ...Object.values(DOORS)
      .flat()
      .filter(isFile)
      .map((file) => ({ files: [file], rules: wallsOf(roomOf(file), file) })),
    {
      files: ['test/**'],
      rules: {
        'typescript/no-unnecessary-condition': 'off',
        'typescript/only-throw-error': 'off',
        'typescript/no-non-null-assertion': 'off',
      },
    },
    { files: ['oxlint.config.ts'], rules: { 'import/no-default-export': 'off' } },
  ],
});

/** Of a file in a room, or of the room's folder. */
function wallsOf(room: string, path: string): DummyRuleMap {
  const paths = Object.entries(DOORS)
    .filter(([, doors]) => !doors.some((door) => `${path}/`.startsWith(`${door}/`)))
    .map(([name, doors]) => ({ name, message: `Only ${doors.join(' and ')} may import it.` }));
  const patterns = Object.keys(ROOMS).flatMap((other) => {
    const seen = seenFrom(room, other);
    if (seen === 'all') return [];
    const at = outerOf(other) === outerOf(room) ? other.replace(/^\w+\//, '') : other;
    const group = isFile(other) ? [`**/${at}`] : [`**/${at}/**`];
    group.push(...seen.map((file) => `!**/${at}/${file}`));
    const told = seen.length > 0 ? seen.join(', ') : 'nothing';
    return [{ group, message: `Of ${other}, ${room} may import ${told}.` }];
  });
  return { 'no-restricted-imports': ['error', { paths, patterns }] };
}

/** The files of one room that another one may import. */
export function seenFrom(room: string, other: string): 'all' | readonly string[] {
  const outer = outerOf(room);
  const isBeside = outerOf(other) === outer;
  // A room shows to its own house what is in it, and to others by its own facade what is in rooms within it.
  if (other === room || other === outer || (!isBeside && other !== outerOf(other))) return 'all';
  const assembles = isBeside ? room === outer : HEADS.includes(room);
  const { imports } = ROOMS[isBeside ? room : outer]!;
  if (!imports.includes(other) && !(isBeside && assembles)) return [];
  const { facade, parts = [] } = ROOMS[other]!;
  if (!facade) return 'all';
  return assembles ? [...facade, ...parts] : facade;
}

/** `store/care` of `src/store/care/pins.ts`; `src/main.ts` is a room of its own. */
export function roomOf(file: string): string {
  const path = file.replace(/^src\//, '');
  return path.includes('/') ? dirname(path) : path;
}

/** `store` of `store/care`. */
export function outerOf(room: string): string {
  return room.replace(/\/.*/, '');
}

export function pathOf(room: string): string {
  return outerOf(room) === 'sync' ? room : `src/${room}`;
}

export function isFile(path: string): boolean {
  return /\.[jt]s$/.test(path);
}
