// npm run build: compiles and bundles the project into dist, with the types of the admin API.
import { execFileSync } from 'node:child_process';
import { globSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build as bundle, type BuildOptions, type Plugin } from 'esbuild-wasm';
import packageJson from '../../package.json' with { type: 'json' };
import { describeLicences, findBundled } from './third-party.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const DIST = join(ROOT, 'dist');
/** Which module is in which file, for the tests; as old as the begin of the build, for `npm start`. */
const STAMP = join(ROOT, '.cache', 'bundle.json');

const { version, description, engines } = packageJson;

/** What the program knows of itself; the rest of package.json is for those who build it. */
const ownManifest: Plugin = {
  name: 'own-manifest',
  setup(build) {
    build.onLoad({ filter: /\/package\.json$/ }, ({ path }) =>
      path === join(ROOT, 'package.json')
        ? { contents: JSON.stringify({ version, description }), loader: 'json' }
        : undefined,
    );
    // Only what every Node can read; the folder stands alone, wherever it is copied.
    build.onLoad({ filter: /\/src\/entrepot\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace('../package.json', './package.json'),
      loader: 'js',
    }));
  },
};

/** Of undici what is used; all of it would bring a whole `fetch`, WebSockets and mocks into each process. */
const partsOfUndici: Plugin = {
  name: 'parts-of-undici',
  setup(build) {
    build.onLoad({ filter: /\/node_modules\/undici\/index\.js$/ }, () => ({
      contents: `
        const Dispatcher = require('./lib/dispatcher/dispatcher');
        Object.assign(Dispatcher.prototype, require('./lib/api'));
        exports.Agent = require('./lib/dispatcher/agent');
        exports.Client = require('./lib/dispatcher/client');
        exports.ProxyAgent = require('./lib/dispatcher/proxy-agent');
        exports.buildConnector = require('./lib/core/connect');`,
    }));
    // No upstream is asked by HTTP/2.
    build.onLoad({ filter: /\/undici\/lib\/dispatcher\/client-h2\.js$/ }, () => ({
      contents: `module.exports = () => { throw new Error('HTTP/2 is not spoken'); };`,
    }));
  },
};

/**
 * What has large tables, or is for what few ask: each is a file of its own, which is read when one of these functions
 * is called for the first time.
 */
const LATE = {
  // Judges regular expressions.
  scslre: ['analyse'],
  // Knows the public suffixes.
  tldts: ['getDomain'],
  // Reads and writes archives, for bundles.
  'tar-stream': ['extract', 'pack'],
  // Of Koa: which form of an answer a client likes; it knows all media types once more.
  accepts: [],
} as const;

/** The same functions with the same names; of a package that is one function, that function. */
const lateParts: Plugin = {
  name: 'late-parts',
  setup(build) {
    build.onResolve({ filter: new RegExp(`^(${Object.keys(LATE).join('|')})$`) }, ({ path }) => ({
      path,
      namespace: 'late',
    }));
    build.onLoad({ filter: /./, namespace: 'late' }, ({ path }) => {
      const names: readonly string[] = LATE[path as keyof typeof LATE];
      const late = (of: string) => `(...given) => require('../late/${path}.cjs')${of}(...given)`;
      const contents = names.map((name) => `exports.${name} = ${late(`.${name}`)};`).join('\n');
      return { contents: contents || `module.exports = ${late('')};` };
    });
    build.onResolve({ filter: /^\.\.\/late\// }, ({ path }) => ({ path, external: true }));
  },
};

/** Of all media types what is read of them: most have neither an extension nor a charset. */
const knownMediaTypes: Plugin = {
  name: 'known-media-types',
  setup(build) {
    build.onLoad({ filter: /\/mime-db\/db\.json$/ }, ({ path }) => {
      const types = JSON.parse(readFileSync(path, 'utf8')) as Record<string, MediaType>;
      const known = Object.entries(types).flatMap(([type, { source, charset, extensions }]) =>
        charset || extensions ? [[type, { source, charset, extensions }] as const] : [],
      );
      return { contents: JSON.stringify(Object.fromEntries(known)), loader: 'json' };
    });
  },
};

/**
 * An `import` of Node's HTTP module reads each of its exports, and some of them bring all of Node's own `fetch`:
 * 16 MiB. `require` does not.
 */
const httpAlone: Plugin = {
  name: 'http-alone',
  setup(build) {
    build.onResolve({ filter: /^(node:)?http$/ }, ({ kind }) =>
      kind === 'import-statement' ? { path: 'http', namespace: 'http-alone' } : { external: true },
    );
    build.onLoad({ filter: /./, namespace: 'http-alone' }, () => ({
      contents: `module.exports = require('node:http');`,
    }));
  },
};

/** Of the database its scripts are in the bundle, and its compiled part is found beside its own files. */
const compiledPart: Plugin = {
  name: 'compiled-part',
  setup(build) {
    build.onLoad({ filter: /\/classic-level\/binding\.js$/ }, () => ({
      contents: `
        const folder = require('node:path').dirname(require.resolve('classic-level/package.json'));
        module.exports = require('node-gyp-build')(folder);`,
    }));
  },
};

interface MediaType {
  readonly source?: string;
  readonly charset?: string;
  readonly extensions?: readonly string[];
}

const COMMON = {
  absWorkingDir: ROOT,
  bundle: true,
  platform: 'node',
  // Of a CommonJS package `import()` would give the default alone, and nothing unused would stay out.
  mainFields: ['module', 'main'],
  target: `node${engines.node.replace('>=', '')}`,
  // What is loaded stays in memory as text. Names are kept: traces in a log tell them.
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 160,
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
} as const satisfies BuildOptions;

const startedAt = new Date();
for (const path of [STAMP, DIST]) rmSync(path, { recursive: true, force: true });
const main = await bundle({
  ...COMMON,
  entryPoints: { main: 'src/entrepot.js' },
  outdir: DIST,
  chunkNames: 'chunks/[name]-[hash]',
  splitting: true,
  format: 'esm',
  // Their compiled parts are found beside their own files.
  external: ['classic-level/package.json', '@node-rs/bcrypt'],
  plugins: [ownManifest, partsOfUndici, lateParts, knownMediaTypes, httpAlone, compiledPart],
  // As it is in Node itself: with one parser of HTTP, not two to choose from.
  define: { esbuildDetection: 'true' },
  // What is CommonJS within the bundle asks for the modules of Node with it.
  banner: {
    js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
  },
});
const late = await bundle({
  ...COMMON,
  entryPoints: Object.keys(LATE),
  outdir: join(DIST, 'late'),
  outExtension: { '.js': '.cjs' },
  format: 'cjs',
  plugins: [knownMediaTypes],
});
writeFileSync(join(DIST, 'package.json'), JSON.stringify({ type: 'module', engines }));
writeFileSync(
  join(DIST, 'THIRD-PARTY.txt'),
  describeLicences(
    findBundled([main.metafile, late.metafile], ROOT),
    readFileSync(join(ROOT, 'LICENSE'), 'utf8'),
  ),
);
const launcher = readFileSync(join(import.meta.dirname, 'entrepot.sh'), 'utf8');
writeFileSync(
  join(DIST, 'entrepot'),
  launcher.replace('NODE_NEEDED', engines.node.replace('>=', '')),
  { mode: 0o755 },
);
declareApi();
mkdirSync(join(ROOT, '.cache'), { recursive: true });
const outputs = { ...main.metafile.outputs, ...late.metafile.outputs };
writeFileSync(STAMP, JSON.stringify({ outputs }));
utimesSync(STAMP, startedAt, startedAt);

/** One file of types for each of src/api, and `index.d.ts`, which has all of them. */
function declareApi(): void {
  const sources = globSync('src/api/*.ts', { cwd: ROOT }).toSorted();
  const options = ['--ignoreConfig', '--declaration', '--emitDeclarationOnly', '--strict'];
  options.push('--module', 'nodenext', '--target', 'esnext', '--types', 'node');
  options.push('--allowImportingTsExtensions', '--outDir', join(DIST, 'api'));
  const compiler = join(ROOT, 'node_modules', '.bin', 'tsc');
  execFileSync(compiler, [...options, ...sources], { cwd: ROOT, stdio: 'inherit' });
  const lines = sources.map((file) => `export type * from './${basename(file, '.ts')}.js';\n`);
  writeFileSync(join(DIST, 'api', 'index.d.ts'), lines.join(''));
}
