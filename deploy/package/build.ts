// npm run build: compiles and bundles the project into dist, with the types of the admin API.
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build as bundle, type Plugin } from 'esbuild-wasm';
import packageJson from '../../package.json' with { type: 'json' };
import { describeLicences, findBundled } from './third-party.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const DIST = join(ROOT, 'dist');

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
  },
};

/** What judges regular expressions has large tables: they are made when the first one is judged. */
const judgeWhenAsked: Plugin = {
  name: 'judge-when-asked',
  setup(build) {
    build.onResolve({ filter: /^scslre$/ }, ({ namespace }) =>
      namespace === 'file' ? { path: 'scslre', namespace: 'when-asked' } : undefined,
    );
    build.onLoad({ filter: /./, namespace: 'when-asked' }, () => ({
      contents: `exports.analyse = (...given) => require('scslre').analyse(...given);`,
      resolveDir: ROOT,
    }));
  },
};

rmSync(DIST, { recursive: true, force: true });
const { metafile } = await bundle({
  absWorkingDir: ROOT,
  entryPoints: { main: 'src/entrepot.js' },
  outdir: DIST,
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  // Of a CommonJS package `import()` would give the default alone, and nothing unused would stay out.
  mainFields: ['module', 'main'],
  target: `node${engines.node.replace('>=', '')}`,
  // Their compiled parts are found beside their own files.
  external: ['classic-level', '@node-rs/bcrypt'],
  plugins: [ownManifest, partsOfUndici, judgeWhenAsked],
  // What is CommonJS within the bundle asks for the modules of Node with it.
  banner: {
    js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
  },
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
});
writeFileSync(join(DIST, 'package.json'), JSON.stringify({ type: 'module', engines }));
writeFileSync(
  join(DIST, 'THIRD-PARTY.txt'),
  describeLicences(findBundled(metafile, ROOT), readFileSync(join(ROOT, 'LICENSE'), 'utf8')),
);
const launcher = readFileSync(join(import.meta.dirname, 'entrepot.sh'), 'utf8');
writeFileSync(
  join(DIST, 'entrepot'),
  launcher.replace('NODE_NEEDED', engines.node.replace('>=', '')),
  { mode: 0o755 },
);
declareApi();

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
