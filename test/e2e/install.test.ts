/** What an operator does with a checkout: the packages of a release and a start, with no other Node than npm's. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test from 'ava';
import { copyCommitted, outsideEnvironment } from '../helpers/checkout.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';

/** What npm says where neither its registry nor its cache has the packages. */
const NO_NETWORK =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|E\w*TIMEDOUT|E\w*TIMEOUT|ENOTCACHED)\b/;
const MINUTES = 60_000;

test('npm ci --omit=dev and npm start work from a copy of the committed tree: an image is pulled through it', async (t) => {
  t.timeout(5 * MINUTES);
  const folder = await createTempFolder(t);
  await copyCommitted(folder);
  const { code, output } = await install(folder);
  const needsNetwork = NO_NETWORK.exec(output)?.[1];
  if (code !== 0 && needsNetwork) {
    t.fail(`not tried: npm has no network here and lacks packages in its cache (${needsNetwork})`);
    return;
  }
  t.is(code, 0, output);
  t.notRegex(output, /EBADENGINE/);
  t.false(existsSync(join(folder, 'node_modules', 'typescript')));

  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 'installed', layers: [100_000] });
  registry.addImage('library/app', 'v1', image);
  const config = {
    listen: '127.0.0.1:0',
    admin: '127.0.0.1:0',
    grace: '100ms',
    upstreams: { 'docker.io': { url: registry.url } },
  };
  await writeFile(join(folder, 'entrepot.yaml'), JSON.stringify(config));
  const npm = spawn('npm', ['--silent', '--prefix', folder, 'start'], {
    cwd: folder,
    env: outsideEnvironment(),
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  const ended = once(npm, 'close');
  const kill = (): void => {
    if (npm.exitCode === null && npm.signalCode === null) process.kill(-npm.pid!, 'SIGKILL');
  };
  // A server that does not hear of the end must not outlive the test.
  const late = setTimeout(kill, 2 * MINUTES);
  t.teardown(() => {
    clearTimeout(late);
    kill();
  });
  const messages: string[] = [];
  for await (const line of createInterface({ input: npm.stdout })) {
    const { msg, url } = JSON.parse(line) as { msg: string; url: string };
    messages.push(msg);
    if (msg !== 'listening') continue;
    const app = `${url}/v2/library/app`;
    t.true((await get(`${app}/manifests/v1`)).body.equals(image.manifest.bytes));
    for (const { digest, bytes } of image.blobs) {
      t.true((await get(`${app}/blobs/${digest}`)).body.equals(bytes));
    }
    npm.kill('SIGTERM');
  }
  await ended;
  t.is(messages.at(-1), 'stopped');
  t.true(existsSync(join(folder, 'data', 'format')));
});

async function install(folder: string): Promise<{ code: number | null; output: string }> {
  const args = ['ci', '--omit=dev', '--prefer-offline', '--no-audit', '--no-fund'];
  const npm = spawn('npm', ['--prefix', folder, ...args], {
    cwd: folder,
    env: outsideEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [npm.stdout, npm.stderr]) {
    stream.on('data', (text: Buffer) => (output += text.toString()));
  }
  const [code] = (await once(npm, 'close')) as [number | null];
  return { code, output };
}
