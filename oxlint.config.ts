import { defineConfig, type DummyRuleMap } from 'oxlint';

/** What a room may import besides itself. Arrows point down: no room imports one that stands above it. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  'src/oci': [],
  'src/time': [],
  'src/api': ['src/oci'],
  'src/config': ['src/oci'],
  'src/observe': ['src/config', 'src/oci', 'src/time'],
  'src/net': ['src/config', 'src/observe', 'src/oci', 'src/time'],
  'src/store': ['src/api', 'src/config', 'src/observe', 'src/oci', 'src/time'],
  'src/upstream': ['src/net', 'src/api', 'src/config', 'src/observe', 'src/oci', 'src/time'],
  'src/mirror': [
    'src/store',
    'src/upstream',
    'src/net',
    'src/api',
    'src/config',
    'src/observe',
    'src/oci',
    'src/time',
  ],
  'src/http': [
    'src/mirror',
    'src/upstream/demand.ts',
    'src/config',
    'src/observe',
    'src/oci',
    'src/time',
  ],
  'src/admin': [
    'src/mirror',
    'src/store',
    'src/api',
    'src/config',
    'src/observe',
    'src/oci',
    'src/time',
  ],
  sync: [
    'src/mirror',
    'src/upstream',
    'src/store',
    'src/api',
    'src/config',
    'src/observe',
    'src/oci',
    'src/time',
  ],
  'src/cli': [
    'sync',
    'src/mirror/addressing.ts',
    'src/upstream/checkup',
    'src/api',
    'src/config',
    'src/observe',
    'src/oci',
    'src/time',
  ],
};

/** The only places that may import a package: one dependency, one door. */
const DOORS: Readonly<Record<string, readonly string[]>> = {
  koa: ['src/http', 'src/admin'],
  '@koa/router': ['src/http', 'src/admin'],
  undici: ['src/net'],
  tldts: ['src/net', 'src/upstream'],
  level: ['src/store/catalog/tables.ts'],
  'prom-client': ['src/observe'],
  pino: ['src/observe'],
  commander: ['src/cli'],
  zod: ['src/config'],
  yaml: ['src/config'],
  re2js: ['src/config'],
  scslre: ['src/config'],
  semver: ['src/config', 'sync'],
  croner: ['src/config', 'sync'],
  'p-queue': ['src/store', 'src/upstream', 'src/mirror', 'sync'],
};

/** The rooms of the store from the lowest up, with the one file of each that others may import. */
const STORE_FACADES = [
  ['files', 'blob-store.ts'],
  ['catalog', 'catalog.ts'],
  ['journal', 'journal.ts'],
  ['care', 'care.ts'],
] as const;

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
    ...Object.entries(ROOMS).map(([room, below]) => ({
      files: [`${room}/**`],
      rules: wallsOf(room, below),
    })),
    {
      files: ['src/*.ts'],
      rules: { 'no-restricted-imports': ['error', { patterns: [facadesOnly('src')] }] },
    },
    ...STORE_FACADES.map(([room], floor) => ({
      files: [`src/store/${room}/**`],
      rules: wallsOf('src/store', ROOMS['src/store']!, floor),
    })),
    {
      files: ['src/store/catalog/tables.ts'],
      rules: wallsOf('src/store/catalog/tables.ts', ['src/store', ...ROOMS['src/store']!]),
    },
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

/** `floor`: of a room of the store. */
function wallsOf(room: string, below: readonly string[], floor?: number): DummyRuleMap {
  const open = [room, ...below];
  const shut = Object.keys(ROOMS).filter((other) => !open.includes(other));
  const restrictions = {
    paths: Object.entries(DOORS)
      .filter(([, doors]) => !doors.includes(room))
      .map(([name, doors]) => ({ name, message: `Only ${doors.join(' and ')} may import it.` })),
    patterns: [
      {
        group: [
          ...shut.map((other) => `**/${lastPart(other)}/**`),
          // A part of a shut room that stands open.
          ...below
            .filter((part) => !(part in ROOMS))
            .map((part) => `!**/${afterSrc(part)}${part.endsWith('.ts') ? '' : '/**'}`),
        ],
        message: `${room} may import only ${open.join(', ')}.`,
      },
      {
        group: ['**/main.ts', '**/engine.ts', ...(room === 'src/cli' ? [] : ['**/server.ts'])],
        message: 'The process entry and the composition root stand above every room.',
      },
      facadesOnly(room, floor),
    ],
  };
  return { 'no-restricted-imports': ['error', restrictions] };
}

/** Of the store, its facades alone; within a room of it, those of the rooms below. */
function facadesOnly(from: string, floor?: number): { group: string[]; message: string } {
  const isInside = from.startsWith('src/store');
  const others = STORE_FACADES.filter((_, other) => other !== floor);
  const open = STORE_FACADES.filter(([room], other) =>
    floor === undefined ? isInside || room !== 'journal' : other < floor,
  );
  const at = isInside ? '**' : '**/store';
  return {
    group: [
      ...others.map(([room]) => `${at}/${room}/*`),
      ...open.map(([room, facade]) => `!${at}/${room}/${facade}`),
      // Who opens a store makes its catalog.
      ...(isInside && floor === undefined
        ? ['!**/catalog/open-catalog.ts', '!**/catalog/rebuild.ts']
        : []),
    ],
    message: `Of the store may be imported: ${open.map(([room, file]) => `${room}/${file}`).join(', ')}.`,
  };
}

function lastPart(room: string): string {
  return room.slice(room.lastIndexOf('/') + 1);
}

function afterSrc(room: string): string {
  return room.replace(/^src\//, '');
}
