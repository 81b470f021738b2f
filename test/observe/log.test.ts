import { execFile } from 'node:child_process';
import { promisify, stripVTControlCharacters } from 'node:util';
import test from 'ava';
import { createLog, logFacts, logFormatOf, type LogFormat } from '../../src/observe/log.ts';

const run = promisify(execFile);

/** What a log of this format writes. */
function written(format: LogFormat, write: (log: ReturnType<typeof createLog>) => void): string {
  const lines: string[] = [];
  write(createLog({ format, destination: { write: (text) => lines.push(text) } }));
  return lines.join('').replaceAll(/^\d\d:\d\d:\d\d/gm, 'TIME');
}

const REQUEST = {
  id: 'abc',
  client: '10.0.0.5',
  agent: 'containerd/2.3',
  method: 'GET',
  kind: 'blob',
  target: 'hub.example/org/app',
  upstream: 'hub.example',
  reference: `sha256:${'0123456789ab'.repeat(5)}cdef`,
  status: 200,
  source: 'miss',
  bytes: 12_900_000,
  ttfbMs: 31.5,
  ms: 1234.5,
};

test('a terminal has lines for people, in colours unless it says otherwise, and all else JSON', (t) => {
  t.is(logFormatOf({}, {}), 'json');
  t.is(logFormatOf({ isTTY: false }, { NO_COLOR: '' }), 'json');
  t.is(logFormatOf({ isTTY: true }, {}), 'colour');
  t.is(logFormatOf({ isTTY: true }, { NO_COLOR: '' }), 'colour');
  t.is(logFormatOf({ isTTY: true }, { NO_COLOR: '1' }), 'plain');
  t.is(logFormatOf({ isTTY: true }, { TERM: 'dumb' }), 'plain');
});

test('JSON has the level as a word and the time by RFC 3339', (t) => {
  const [line = ''] = written('json', (log) => log.warn({ a: 1 }, 'said')).split('\n');
  const { time, ...rest } = JSON.parse(line) as Record<string, unknown>;
  t.regex(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  t.deepEqual(rest, { level: 'warn', name: 'entrepot', a: 1, msg: 'said' });
});

test('a request is one line for people, in columns', (t) => {
  const other = {
    client: '10.0.0.17',
    method: 'PUT',
    kind: 'other',
    path: '/v2/org/app/manifests/v1',
    status: 405,
    bytes: 0,
    ms: 0.4,
    reason: 'this is a read-only mirror',
  };
  const told = written('plain', (log) => {
    log.info(REQUEST, 'request');
    log.info({ ...REQUEST, kind: 'manifest', reference: 'v1', source: 'hit', ms: 2 }, 'request');
    log.info(other, 'request');
    log.warn({ ...REQUEST, cut: true, reason: 'hub.example: reset' }, 'request');
    log.info({ ...REQUEST, left: true, bytes: 0 }, 'request');
  });
  t.is(
    told,
    `TIME  GET   200  miss         12.3 MiB    1.2 s  10.0.0.5         hub.example/org/app@sha256:0123456789ab
TIME  GET   200  hit          12.3 MiB     2 ms  10.0.0.5         hub.example/org/app:v1
TIME  PUT   405  -                 0 B     0 ms  10.0.0.17        /v2/org/app/manifests/v1  (this is a read-only mirror)
TIME  GET   200  miss         12.3 MiB    1.2 s  10.0.0.5         hub.example/org/app@sha256:0123456789ab  (cut short: hub.example: reset)
TIME  GET   200  miss              0 B    1.2 s  10.0.0.5         hub.example/org/app@sha256:0123456789ab  (the client left)
`,
  );
});

test('anything else is its message and its facts, an error with its stack', (t) => {
  const err = new Error('broken');
  err.stack = 'Error: broken\n    at here';
  const told = written('plain', (log) => {
    log.info({ url: 'http://127.0.0.1:5000', n: 2 }, 'listening');
    log.error({ err }, 'failed');
    log.warn({ err }, 'download');
  });
  t.is(
    told,
    `TIME  listening  url=http://127.0.0.1:5000  n=2
TIME  ERROR failed
          Error: broken
              at here
TIME  WARN download  (broken)
`,
  );
});

test('nothing that somebody sends is obeyed by the terminal', (t) => {
  const evil = 'a\x1b[2Jb\r\nc\x9bd\u202ee';
  const told = written('plain', (log) => {
    log.info({ ...REQUEST, target: evil, reason: evil, client: evil }, 'request');
    log.info({ evil }, evil);
  });
  t.notRegex(told.replaceAll('\n', ''), /[\p{Cc}\u202e]/u);
  t.is(told.split('\n').length, 3);
  const coloured = written('colour', (log) => log.info({ ...REQUEST, target: evil }, 'request'));
  t.true(coloured.includes('\x1b[32m200\x1b[39m'));
  t.true(stripVTControlCharacters(coloured).includes(String.raw`a\u001b[2Jb`));
});

test('a line of facts is that of the logger, and is left out where the logger leaves it out', (t) => {
  const lines = (write: (log: ReturnType<typeof createLog>) => void): string =>
    written('json', write).replaceAll(/"time":"[^"]*"/g, 'TIME');
  for (const facts of [
    REQUEST,
    { id: 'a"\\b\n', agent: '\u001b[31m ü ☃ \ud800', denied: undefined, n: 0.5 },
  ]) {
    t.is(
      lines((log) => logFacts(log, facts, 'request')),
      lines((log) => log.info(facts, 'request')),
    );
  }
  const silent = (log: ReturnType<typeof createLog>): void => {
    log.level = 'warn';
    logFacts(log, REQUEST, 'request');
  };
  t.is(lines(silent), '');
});

test('lines that gather are written in order, and before the process ends', async (t) => {
  const script = `
    import { createLog } from ${JSON.stringify(import.meta.resolve('../../src/observe/log.ts'))};
    const log = createLog();
    for (let n = 0; n < 1000; n += 1) log.info({ n }, 'said');
    if (process.argv[1] === 'exit') process.exit();
    if (process.argv[1] === 'throw') throw new Error('broken');`;
  for (const end of ['exit', 'throw', 'by itself']) {
    const args = ['--input-type=module', '--eval', script, end];
    const { stdout } = await run(process.execPath, args).catch(
      (error: { stdout: string }) => error,
    );
    const said = stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { n: number }).n);
    t.deepEqual(said, [...Array(1000).keys()], end);
  }
});
