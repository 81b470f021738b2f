#!/usr/bin/env node
// Started by any Node: one that is too old cannot read TypeScript, so it learns here what is needed.
import { readFileSync } from 'node:fs';

const { engines } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const needed = engines.node.replace('>=', '');

if (isOlder(process.versions.node, needed)) {
  process.stderr.write(
    `entrepot needs Node ${needed} or newer and was started by Node ${process.versions.node}: ` +
      'use the Node that npm ci installs beside it, node_modules/.bin/node, or install a newer one\n',
  );
  process.exitCode = 1;
} else {
  await import('./main.ts');
}

/**
 * @param {string} version
 * @param {string} least
 */
function isOlder(version, least) {
  const [major, minor = 0] = version.split('.').map(Number);
  const [leastMajor, leastMinor = 0] = least.split('.').map(Number);
  return major < leastMajor || (major === leastMajor && minor < leastMinor);
}
