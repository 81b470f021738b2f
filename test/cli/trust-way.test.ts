/** `trust refresh`: by which way the files of the repository come, and how much of them is taken. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { fetchTrustRoot } from '../../src/admission/signatures/trust-refresh.ts';
import { createFolder } from '../config/config-folder.ts';
import { createCertificates } from '../helpers/certificate.ts';
import { createTempFolder, TEST_TIMING } from '../helpers/mirror.ts';
import { startProxy } from '../helpers/proxy.ts';
import { runInFolder } from './run-in-folder.ts';
import { TufRepository } from './tuf-repository.ts';

const FIXTURES = join(import.meta.dirname, '..', 'admission', 'fixtures', 'sigstore');
const ROOT = readFileSync(join(FIXTURES, 'public-good.json'), 'utf8');
const LINE = ['trust', 'refresh', '--out', 'trusted_root.json', '--root', 'root.json'];

function folderOf(t: ExecutionContext, repository: TufRepository, files = {}): string {
  return createFolder(t, { 'root.json': repository.root, ...files });
}

test('trust refresh goes through the proxy that the environment names, and no other way', async (t) => {
  const repository = await TufRepository.start(t);
  repository.publish(ROOT, 1);
  const proxy = await startProxy(t, {
    forward: ({ url = '' }, response) => {
      const body = repository.files.get(new URL(url).pathname);
      response.writeHead(body === undefined ? 404 : 200).end(body);
    },
  });
  const cwd = folderOf(t, repository);
  const env = { HTTP_PROXY: proxy.url };
  const line = [...LINE, '--mirror', 'http://tuf.example'];
  const { code, stderr } = await runInFolder(t, cwd, line, env);
  t.is(code, 0, stderr);
  t.is(readFileSync(join(cwd, 'trusted_root.json'), 'utf8'), ROOT);
  t.true(proxy.lines.includes('GET http://tuf.example/timestamp.json'), proxy.lines.join('\n'));
  t.deepEqual(repository.asked, []);
});

test('trust refresh trusts the authority that is named, which alone counts then, and says how to name it', async (t) => {
  const { ca, server } = await createCertificates();
  const others = await createCertificates();
  const repository = await TufRepository.start(t, server);
  repository.publish(ROOT, 1);
  const cwd = folderOf(t, repository, {
    'ca.crt': String(ca),
    'other.crt': String(others.ca),
    'none.crt': '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
  });
  const refresh = async (...args: readonly string[]) =>
    runInFolder(t, cwd, [...LINE, '--mirror', repository.url, ...args]);
  for (const args of [[], ['--ca', 'other.crt']]) {
    const { code, stderr } = await refresh(...args);
    t.is(code, 1);
    t.regex(stderr, /of an authority that is not trusted \(\w+\); set --ca to the PEM file/);
  }
  for (const name of ['none.crt', 'nowhere.crt']) {
    const { code, stderr } = await refresh('--ca', name);
    t.is(code, 64, stderr);
    t.regex(stderr, new RegExp(name));
  }
  const { code, stderr } = await refresh('--ca', 'ca.crt');
  t.is(code, 0, stderr);
  t.is(readFileSync(join(cwd, 'trusted_root.json'), 'utf8'), ROOT);
});

test('trust refresh reads no more of a file than it may have, whatever the other side sends', async (t) => {
  const repository = await TufRepository.start(t);
  repository.publish(ROOT, 1);
  const chunk = Buffer.alloc(256 * 1024, ' ');
  let sent = 0;
  const cut = Promise.withResolvers<void>();
  repository.instead = ({ url }, response) => {
    if (url !== '/timestamp.json') return false;
    response.on('close', () => cut.resolve());
    const go = (): void => {
      let isFree = !response.destroyed;
      while (isFree) {
        isFree = response.write(chunk);
        sent += chunk.length;
      }
    };
    response.on('drain', go);
    go();
    return true;
  };
  const cwd = folderOf(t, repository);
  const { code, stderr } = await runInFolder(t, cwd, [...LINE, '--mirror', repository.url]);
  t.is(code, 1);
  t.regex(stderr, /\/timestamp\.json of 127\.0\.0\.1:\d+ has more than 5000000 bytes/);
  await cut.promise;
  t.true(sent < 64 * 2 ** 20, `${sent} bytes`);
  t.false(existsSync(join(cwd, 'trusted_root.json')));
});

test('what does not answer is asked for three times, what may have passed is taken, and no redirect is followed', async (t) => {
  const repository = await TufRepository.start(t);
  repository.publish(ROOT, 1);
  const rootPath = join(folderOf(t, repository), 'root.json');
  const timing = { ...TEST_TIMING, headersMs: 200, retryMs: 1 };
  const fetch = async () => {
    repository.asked.length = 0;
    const folder = await createTempFolder(t);
    return fetchTrustRoot({ mirror: repository.url, folder, rootPath, timing });
  };
  const timestamps = (): number =>
    repository.asked.filter((each) => each === '/timestamp.json').length;
  repository.instead = ({ url }) => url === '/timestamp.json';
  await t.throwsAsync(fetch, { message: /no answer from 127\.0\.0\.1:\d+ within 200 ms/ });
  t.is(timestamps(), 3);

  repository.instead = ({ url }, response) => {
    if (url !== '/timestamp.json' || timestamps() === 3) return false;
    response.writeHead(503).end();
    return true;
  };
  t.is(String((await fetch()).bytes), ROOT);
  t.is(timestamps(), 3);

  const other = await TufRepository.start(t);
  repository.instead = ({ url }, response) => {
    response.writeHead(302, { location: `${other.url}${url}` }).end();
    return true;
  };
  await t.throwsAsync(fetch, { message: /answered 302 for \/2\.root\.json/ });
  t.deepEqual(other.asked, []);
});
