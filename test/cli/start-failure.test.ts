import test from 'ava';
import { explainStartFailure as explain } from '../../src/cli/start-failure.ts';

/** As it is told to user 1000 of a store under /srv. */
function explainStartFailure(error: unknown, path: string): string | undefined {
  const listen = { host: '::', port: 5000 };
  const admin = { host: '127.0.0.1', port: 5001 };
  return explain(error, { listen, admin, store: { path }, uid: 1000 });
}

function listenError(code: string, fields: object): Error {
  return Object.assign(new Error(`listen ${code}`), { code, syscall: 'listen', ...fields });
}

test('an address that cannot be listened on is named with its key, the reason and the remedy', (t) => {
  const reasonOf = (code: string, address: string, port: number) =>
    explainStartFailure(listenError(code, { address, port }), '/srv');
  t.is(
    reasonOf('EADDRINUSE', '::', 5000),
    'listen: [::]:5000 is in use by another process; stop that one, or set another address',
  );
  t.is(
    reasonOf('EADDRNOTAVAIL', '192.0.2.1', 5001),
    'admin: 192.0.2.1:5001 is not an address of this machine; set one that is',
  );
  t.is(
    reasonOf('EACCES', '127.0.0.1', 5001),
    'admin: 127.0.0.1:5001 may not be opened by this user; set a port above 1023, or run it as another user',
  );
});

test('the reason is found among the causes', (t) => {
  const locked = Object.assign(new Error('lock'), { code: 'LEVEL_LOCKED' });
  const error = new Error('outer', { cause: new Error('inner', { cause: locked }) });
  t.is(
    explainStartFailure(error, '/srv/store'),
    'the store /srv/store is in use by another process; stop it, or set another store.path',
  );
});

test('of a store in use it is told who has it', (t) => {
  const cause = Object.assign(new Error('lock'), { code: 'LEVEL_LOCKED' });
  const message = 'the store /srv is in use by another process (7, a command); stop it';
  const error = Object.assign(new Error(message, { cause }), { code: 'STORE_IN_USE' });
  t.is(explainStartFailure(new Error('outer', { cause: error }), '/srv'), message);
});

test('a socket in a folder is named by its path', (t) => {
  const error = listenError('EADDRINUSE', { address: '/run/admin.sock' });
  t.is(explainStartFailure(error, '/srv'), '/run/admin.sock is in use by another process');
});

function fileError(code: string, path: string): Error {
  const message = `${code}: refused, mkdir '${path}'`;
  return Object.assign(new Error(message), { code, syscall: 'mkdir', path });
}

for (const [code, path, reason] of [
  [
    'EACCES',
    '/srv/store/blobs',
    "may not be written by this user (uid 1000): EACCES: refused, mkdir '/srv/store/blobs'; give this user (uid 1000) write access there, or set another folder",
  ],
  [
    'EPERM',
    '/srv',
    "may not be written by this user (uid 1000): EPERM: refused, mkdir '/srv'; give this user (uid 1000) write access there, or set another folder",
  ],
  [
    'ENOTDIR',
    '/srv/store/blobs',
    "cannot be used: a file stands where a folder is needed (ENOTDIR: refused, mkdir '/srv/store/blobs'); set a folder that can be written",
  ],
  [
    'EROFS',
    '/srv/store/catalog.new',
    "cannot be used: its file system is read-only (EROFS: refused, mkdir '/srv/store/catalog.new'); set a folder that can be written",
  ],
  [
    'EIO',
    '/srv/store/blobs',
    "cannot be used: EIO: refused, mkdir '/srv/store/blobs'; set a folder that can be written",
  ],
] as const) {
  test(`${code} of ${path} names store.path, the cause and the remedy`, (t) => {
    const error = new Error('outer', { cause: fileError(code, path) });
    t.is(explainStartFailure(error, '/srv/store'), `store.path: /srv/store ${reason}`);
  });
}

test('a catalog that this user may not lock is the store as well', (t) => {
  const message = 'IO error: /srv/store/catalog/LOCK: Permission denied';
  const cause = Object.assign(new Error(message), { code: 'LEVEL_IO_ERROR' });
  const error = Object.assign(new Error('Database failed to open', { cause }), {
    code: 'LEVEL_DATABASE_NOT_OPEN',
  });
  t.is(
    explainStartFailure(error, '/srv/store'),
    `store.path: /srv/store may not be written by this user (uid 1000): ${message}; give this user (uid 1000) write access there, or set another folder`,
  );
});

test('what the system refuses elsewhere is told in its words', (t) => {
  const refused = fileError('EACCES', '/run/other');
  t.is(explainStartFailure(refused, '/srv/store'), "EACCES: refused, mkdir '/run/other'");
});

test('a fault of the program has no explanation', (t) => {
  t.is(explainStartFailure(new TypeError('a bug'), '/srv'), undefined);
  t.is(explainStartFailure('no error at all', '/srv'), undefined);
});
