import test from 'ava';
import { explainStartFailure } from '../../src/cli/start-failure.ts';

function listenError(code: string, fields: object): Error {
  return Object.assign(new Error(`listen ${code}`), { code, syscall: 'listen', ...fields });
}

test('an address that cannot be listened on is named with the reason', (t) => {
  const reasonOf = (code: string, address: string, port: number) =>
    explainStartFailure(listenError(code, { address, port }), '/srv');
  t.is(reasonOf('EADDRINUSE', '::', 5000), '[::]:5000 is in use by another process');
  t.is(
    reasonOf('EADDRNOTAVAIL', '192.0.2.1', 80),
    '192.0.2.1:80 is not an address of this machine',
  );
  t.is(reasonOf('EACCES', '0.0.0.0', 443), '0.0.0.0:443 may not be opened by this user');
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

test('what the system refuses is told in its words', (t) => {
  const refused = Object.assign(new Error("EACCES: permission denied, mkdir '/srv'"), {
    code: 'EACCES',
    syscall: 'mkdir',
  });
  t.is(explainStartFailure(refused, '/srv'), "EACCES: permission denied, mkdir '/srv'");
});

test('a fault of the program has no explanation', (t) => {
  t.is(explainStartFailure(new TypeError('a bug'), '/srv'), undefined);
  t.is(explainStartFailure('no error at all', '/srv'), undefined);
});
