import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { digestOf } from '../../src/oci/digest.ts';
import { createFolder } from '../config/config-folder.ts';
import { runInFolder } from './run-in-folder.ts';
import type { Result } from './run-main.ts';
import { TufRepository } from './tuf-repository.ts';

const FIXTURE = join(
  import.meta.dirname,
  '..',
  'admission',
  'fixtures',
  'sigstore',
  'public-good.json',
);
const FIRST = readFileSync(FIXTURE, 'utf8');
/** A log has a new key, and the earlier one has an end. */
const SECOND = renew(FIRST);
const END = '2020-01-01T00:00:00Z';

interface Site {
  readonly cwd: string;
  readonly file: string;
  readonly repository: TufRepository;
  readonly refresh: (...args: readonly string[]) => Promise<Result>;
}

async function openSite(t: ExecutionContext, files: Record<string, string> = {}): Promise<Site> {
  const repository = await TufRepository.start(t);
  const cwd = createFolder(t, { 'root.json': repository.root, ...files });
  const line = ['trust', 'refresh', '--out', 'trusted_root.json', '--mirror', repository.url];
  return {
    cwd,
    file: join(cwd, 'trusted_root.json'),
    repository,
    refresh: async (...args) => runInFolder(t, cwd, [...line, '--root', 'root.json', ...args]),
  };
}

test('trust refresh writes the trust root, says what changed, and keeps it where nothing did', async (t) => {
  const { cwd, file, repository, refresh } = await openSite(t);
  repository.publish(FIRST, 1);
  const first = await refresh();
  t.is(first.code, 0, first.stderr);
  t.is(readFileSync(file, 'utf8'), FIRST);
  t.is(statSync(file).mode & 0o777, 0o666 & ~process.umask());
  t.true(
    first.stdout.startsWith(`trust root ${file}\ndigest     ${digestOf(Buffer.from(FIRST))}\nnew `),
  );
  t.regex(
    first.stdout,
    /^new {8}log of signatures: https:\/\/rekor\.sigstore\.dev c0d23d6a, from 2021-01-12$/m,
  );

  const again = await refresh();
  t.is(
    again.stdout,
    `trust root ${file}\ndigest     ${digestOf(Buffer.from(FIRST))}\nchanged    as it was\n`,
  );

  repository.publish(SECOND, 2);
  const second = await refresh('--json');
  t.deepEqual(JSON.parse(second.stdout), {
    path: file,
    digest: digestOf(Buffer.from(SECOND)),
    isChanged: true,
    added: [
      'log of signatures: https://rekor.sigstore.dev c0d23d6a, from 2021-01-12 until 2026-01-01',
      'log of signatures: https://log.example 2a2a2a2a, from 2026-01-01',
    ],
    removed: ['log of signatures: https://rekor.sigstore.dev c0d23d6a, from 2021-01-12'],
  });
  t.is(readFileSync(file, 'utf8'), SECOND);
  t.deepEqual(readdirSync(cwd).toSorted(), [
    'root.json',
    'trusted_root.json',
    'trusted_root.json.tuf',
  ]);
});

test('trust refresh takes nothing that is older than what it has seen, has ended, or is not signed', async (t) => {
  const { file, repository, refresh } = await openSite(t);
  repository.publish(SECOND, 2);
  t.is((await refresh()).code, 0);
  const other = await TufRepository.start(t);
  const wrong: Readonly<Record<string, () => void>> = {
    older: () => repository.publish(FIRST, 1),
    ended: () => repository.publish(FIRST, 3, END),
    'signed by others': () => {
      other.publish(FIRST, 4);
      for (const [path, text] of other.files) repository.files.set(path, text);
    },
    'another target than was signed': () => {
      repository.publish(FIRST, 5);
      repository.files.set('/targets/trusted_root.json', `${FIRST} `.slice(1));
    },
    'no trust root': () => repository.publish('{"mediaType":"application/json"}', 6),
    nonsense: () => repository.files.set('/timestamp.json', 'nonsense'),
    nothing: () => repository.files.clear(),
  };
  for (const [name, publish] of Object.entries(wrong)) {
    publish();
    const { code, stderr, stdout } = await refresh();
    t.is(code, 1, name);
    t.is(stdout, '', name);
    t.regex(
      stderr,
      /^entrepot: http:\S+ gave no trust root that counts: [^\n]+; the file is as it was\n$/,
      name,
    );
    t.is(readFileSync(file, 'utf8'), SECOND, name);
  }
  repository.publish(FIRST, 7);
  t.is((await refresh()).code, 0);
  t.is(readFileSync(file, 'utf8'), FIRST);
});

test('trust refresh writes over nothing but a trust root, and says what is wrong with its line', async (t) => {
  const { cwd, file, repository, refresh } = await openSite(t, {
    'trusted_root.json': 'listen: 80\n',
  });
  repository.publish(FIRST, 1);
  const over = await refresh();
  t.is(over.code, 64);
  t.is(
    over.stderr,
    `entrepot: ${file} is there already and is no trust root (it cannot be read: it is no JSON): name another file\n`,
  );
  t.is(readFileSync(file, 'utf8'), 'listen: 80\n');
  t.false(existsSync(`${file}.tuf`));

  const root = await runInFolder(t, cwd, [
    'trust',
    'refresh',
    '--out',
    'new.json',
    '--root',
    'none',
  ]);
  t.is(root.code, 64);
  t.is(
    root.stderr,
    `entrepot: the trust root ${cwd}/none cannot be read: no such file or directory\n`,
  );
  writeFileSync(join(cwd, 'file'), '');
  const line = ['--mirror', repository.url, '--root', 'root.json'];
  const nowhere = await runInFolder(t, cwd, [
    'trust',
    'refresh',
    '--out',
    'file/new.json',
    ...line,
  ]);
  t.is(nowhere.code, 64);
  t.is(
    nowhere.stderr,
    `entrepot: the trust root ${cwd}/file/new.json cannot be written: not a directory; name a file in a folder that is there\n`,
  );
  const unknown = await runInFolder(t, cwd, [
    'trust',
    'refresh',
    '--out',
    'new.json',
    '--mirror',
    repository.url,
  ]);
  t.is(unknown.code, 1);
  t.regex(
    unknown.stderr,
    /its first root of trust is not known here; name its root\.json with --root/,
  );
});

function renew(text: string): string {
  const root = JSON.parse(text) as { tlogs: { publicKey: { validFor: object } }[] };
  const [log] = root.tlogs;
  const fresh = structuredClone(log!);
  Object.assign(log!.publicKey.validFor, { end: '2026-01-01T00:00:00Z' });
  Object.assign(fresh.publicKey.validFor, { start: '2026-01-01T00:00:00Z' });
  const logId = { keyId: Buffer.alloc(32, 0x2a).toString('base64') };
  root.tlogs.push(Object.assign(fresh, { baseUrl: 'https://log.example', logId }));
  return JSON.stringify(root);
}
