import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import type { RequestListener, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import type { ServerStatus } from '../../src/api/status-api.ts';
import type { AnswerLimits } from '../../src/http/answer-places.ts';
import { Listener } from '../../src/http/listener.ts';
import { createCertificates } from '../helpers/certificate.ts';
import { get, open } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildBlob } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { MirrorProcess } from '../helpers/process.ts';
import { REPOSITORY, UPSTREAM, refusalOf, startScene, type Scene } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';
import { parseAnswers } from '../http/raw-answer.ts';

// What clients may take of the mirror is bounded by connections, and these by places for answers.

const MIB = 1024 * 1024;
const PATIENT: AnswerLimits = {
  max: 2,
  maxWaiting: 100,
  patienceMs: 600_000,
  stalledMs: 600_000,
};

/** Connected from that address, and nothing is read until the test does. */
async function dial(t: ExecutionContext, url: string, localAddress = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port), localAddress });
  await once(socket, 'connect');
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  return socket.pause();
}

function requests(path: string, count: number, padding = 0): string {
  const line = `GET ${path} HTTP/1.1\r\nHost: a\r\nX-Padding: ${'x'.repeat(padding)}\r\n\r\n`;
  return line.repeat(count);
}

async function readAnswers(socket: Socket, count: number): Promise<string[]> {
  const parts: Buffer[] = [];
  const answered = (): string[] => {
    const text = Buffer.concat(parts).toString('latin1');
    return text.split('HTTP/1.1 200 OK').slice(1);
  };
  socket.on('data', (part: Buffer) => parts.push(part)).resume();
  await until('all answers', () => answered().length === count || socket.destroyed);
  return answered();
}

async function listen(t: ExecutionContext, serve: RequestListener): Promise<Listener> {
  const at = { host: '127.0.0.1', port: 0 };
  const listener = await Listener.open(at, serve, pino({ level: 'silent' }));
  t.teardown(async () => listener.close(0));
  return listener;
}

test('the application sees the next request of a connection when the answer before has ended', async (t) => {
  const seen: [path: string, response: ServerResponse][] = [];
  const listener = await listen(t, (request, response) => {
    seen.push([request.url ?? '', response]);
  });
  const socket = await dial(t, listener.url);
  // More than is read at once.
  const paths = Array.from({ length: 60 }, (_, place) => `/${place}`);
  socket.write(paths.map((path) => requests(path, 1, 4000)).join(''));
  const other = await dial(t, listener.url);
  for (const [place, path] of paths.entries()) {
    await until('the next one', () => seen.some(([url]) => url === path));
    if (place === 0) {
      // A whole turn of another client is not time enough for a second one.
      other.write(requests('/other', 1));
      await until('the other one', () => seen.length === 2);
    }
    const [, response] = seen.find(([url]) => url === path)!;
    t.is(seen.length, place + 2);
    response.end(path);
  }
  const answers = await readAnswers(socket, paths.length);
  t.deepEqual(
    answers.map((answer) => answer.split('\r\n\r\n')[1]),
    paths,
  );
});

test('thousands of requests sent ahead cost the connection, not the mirror', async (t) => {
  const seen: string[] = [];
  const listener = await listen(t, (request) => void seen.push(request.url ?? ''));
  const socket = await dial(t, listener.url);
  socket.write(`GET / HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(20_000));
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve));
  t.deepEqual(seen, ['/']);
});

test('a client that leaves with requests sent ahead leaves nothing behind', async (t) => {
  const scene = await startScene(t);
  const blob = await heldBlob(scene);
  const socket = await dial(t, scene.mirror.url);
  socket.write(requests(blob.path, 100));
  await until('one is under way', () => scene.mirror.server.activity().openFiles === 1);
  socket.destroy();
  await scene.mirror.idle();
  t.is(scene.mirror.server.activity().openFiles, 0);
});

test('a connection has one file open, however many blobs are asked for on it', async (t) => {
  const scene = await startScene(t);
  const { server, url } = scene.mirror;
  const blob = await heldBlob(scene);
  const { openFiles } = server.blobs;
  let most = 0;
  const add = openFiles.add.bind(openFiles);
  openFiles.add = (digest) => {
    add(digest);
    most = Math.max(most, openFiles.count);
  };
  const sockets = await Promise.all(Array.from({ length: 4 }, async () => dial(t, url)));
  for (const socket of sockets) socket.write(requests(blob.path, 20));
  for (const socket of sockets) {
    const parts: Buffer[] = [];
    socket.on('data', (part: Buffer) => parts.push(part)).resume();
    const bytes = (): number => parts.reduce((sum, { length }) => sum + length, 0);
    await until('all bytes', () => bytes() > 20 * blob.size);
    socket.destroy();
    const answers = parseAnswers(Buffer.concat(parts).toString('latin1'));
    t.deepEqual(
      new Set(answers.map(({ body }) => Buffer.from(body, 'latin1').equals(blob.bytes))),
      new Set([true]),
    );
  }
  // What the kernel takes ahead of a client ends an answer, and the next one begins.
  t.is(most, sockets.length);
});

async function heldBlob(scene: Scene, size = 4 * MIB) {
  const blob = scene.registry.addBlob(REPOSITORY, buildBlob('held', size));
  const path = `/v2/${REPOSITORY}/blobs/${blob.digest}`;
  await get(`${scene.mirror.url}${path}`);
  await scene.mirror.idle();
  return { ...blob, path };
}

// Places for answers

/** Answers that are under way until their client reads. */
async function stop(t: ExecutionContext, scene: Scene, from: readonly string[]) {
  const blob = await heldBlob(scene, 16 * MIB);
  const { server, url } = scene.mirror;
  const sockets = await Promise.all(from.map(async (address) => dial(t, url, address)));
  for (const socket of sockets) socket.write(requests(blob.path, 1));
  await until('all are under way', () => server.activity().openFiles === sockets.length);
  return sockets;
}

const LOCAL = '127.0.0.1';

test('a request that finds no place in time is 503, and says when to come again', async (t) => {
  const scene = await startScene(t, { answers: { ...PATIENT, patienceMs: 0 } });
  const [first] = await stop(t, scene, [LOCAL, LOCAL]);
  for (const path of ['/v2/', `/v2/${REPOSITORY}/manifests/latest`]) {
    const answer = await scene.ask(path);
    t.like(refusalOf(answer), { status: 503, code: 'UNAVAILABLE' }, path);
    t.is(answer.headers['retry-after'], '5', path);
  }
  t.is((await get(`${scene.mirror.server.adminUrl}/readyz`)).status, 200);
  first?.destroy();
  await until('there is a place', async () => (await scene.ask('/v2/')).status === 200);
});

test('a request waits for a place in its turn, and one that has left takes none', async (t) => {
  const scene = await startScene(t, { answers: PATIENT });
  const [first] = await stop(t, scene, [LOCAL, LOCAL]);
  const left = await dial(t, scene.mirror.url);
  left.write(requests('/v2/', 1));
  const waiting = open(`${scene.mirror.url}/v2/`);
  left.destroy();
  first?.destroy();
  t.is((await waiting).status, 200);
});

test('a client that takes no byte makes room for one that waits', async (t) => {
  const scene = await startScene(t, { answers: { ...PATIENT, stalledMs: 0 } });
  const sockets = await stop(t, scene, [LOCAL, LOCAL]);
  t.is((await scene.ask('/v2/')).status, 200);
  for (const socket of sockets) socket.resume();
  await until('one is cut', () => sockets.some(({ destroyed }) => destroyed));
});

test('one address does not shut the others out', async (t) => {
  const scene = await startScene(t, { answers: { ...PATIENT, max: 4, patienceMs: 0 } });
  await stop(t, scene, [LOCAL, LOCAL, LOCAL]);
  t.is((await scene.ask('/v2/')).status, 503);
  const other = await dial(t, scene.mirror.url, '127.0.0.2');
  other.write(requests('/v2/', 1));
  t.is((await readAnswers(other, 1)).length, 1);
});

test('so many requests wait for a place, half of them of one address; what is beyond is 503 at once', async (t) => {
  const scene = await startScene(t, { answers: { ...PATIENT, maxWaiting: 4 } });
  const { url } = scene.mirror;
  const stopped = await stop(t, scene, [LOCAL, LOCAL]);
  const asking = Array.from({ length: 3 }, async () => scene.ask('/v2/'));
  const refused = await Promise.race(asking);
  t.like(refusalOf(refused), { status: 503, code: 'UNAVAILABLE' });
  t.is(refused.headers['retry-after'], '5');
  const other = await dial(t, url, '127.0.0.2');
  other.write(requests('/v2/', 1));
  stopped.forEach((socket) => socket.destroy());
  t.is((await readAnswers(other, 1)).length, 1);
  const answers = await Promise.all(asking);
  t.is(answers.filter(({ status }) => status === 200).length, 2);
});

// Connections

test('a new connection closes the one that rests for longest', async (t) => {
  const scene = await startScene(t, { connections: 3 });
  const { url } = scene.mirror;
  const [silent, half, idle] = [await dial(t, url), await dial(t, url), await dial(t, url)];
  half.write('GET /v2/ HTTP/1.1\r\nHos');
  idle.write(requests('/v2/', 1));
  t.is((await readAnswers(idle, 1)).length, 1);
  const closed = [silent, half].map(async (socket) => once(socket.resume(), 'close'));
  const fourth = await dial(t, url);
  await closed[0];
  t.deepEqual([half.destroyed, idle.destroyed, fourth.destroyed], [false, false, false]);
  await dial(t, url);
  await closed[1];
  idle.write(requests('/v2/', 1));
  t.is((await readAnswers(idle, 1)).length, 1);
});

test('an address that has half of the connections makes room by its own', async (t) => {
  const scene = await startScene(t, { connections: 4 });
  const { url } = scene.mirror;
  const other = await dial(t, url, '127.0.0.2');
  const own: Socket[] = [];
  for (let count = 0; count < 10; count += 1) own.push(await dial(t, url));
  await until('all but three are closed', () => own.slice(0, 7).every((s) => s.resume().closed));
  t.deepEqual(
    [other, ...own.slice(7)].map(({ destroyed }) => destroyed),
    [false, false, false, false],
  );
  other.write(requests('/v2/', 1));
  t.is((await readAnswers(other, 1)).length, 1);
});

test('a connection with an answer under way makes room for nobody', async (t) => {
  const scene = await startScene(t, { connections: 2, answers: PATIENT });
  const sockets = await stop(t, scene, [LOCAL, LOCAL]);
  const third = await dial(t, scene.mirror.url);
  await once(third.resume(), 'close');
  t.deepEqual(
    sockets.map(({ destroyed }) => destroyed),
    [false, false],
  );
  sockets[0]?.destroy();
  const isServed = async (): Promise<boolean> =>
    scene.ask('/v2/').then(
      ({ status }) => status === 200,
      () => false,
    );
  await until('there is room', isServed);
});

test('over TLS those that never shake hands make room, and those that did are counted once', async (t) => {
  const { ca, server } = await createCertificates();
  const folder = await createTempFolder(t);
  const tls = { cert: join(folder, 'tls.crt'), key: join(folder, 'tls.key') };
  await writeFile(tls.cert, server.cert);
  await writeFile(tls.key, server.key);
  const scene = await startScene(t, { connections: 3, listen: { tls } });
  const { url } = scene.mirror;
  const silent = [await dial(t, url), await dial(t, url)];
  const port = Number(new URL(url).port);
  const secured: Socket[] = [];
  for (let count = 0; count < 3; count += 1) {
    const socket = connectTls({
      host: '127.0.0.1',
      port,
      ca,
      checkServerIdentity: () => undefined,
    });
    t.teardown(() => socket.destroy());
    await once(socket, 'secureConnect');
    socket.write(requests('/v2/', 1));
    t.is((await readAnswers(socket, 1)).length, 1);
    secured.push(socket);
  }
  await until('the silent ones are gone', () => silent.every((socket) => socket.resume().closed));
  t.deepEqual(
    secured.map(({ destroyed }) => destroyed),
    [false, false, false],
  );
  t.is((await get(`${url}/v2/`, { tls: { ca } })).status, 200);
  await until('one has made room', () => secured[0]?.closed === true);
  t.deepEqual([secured[1]?.destroyed, secured[2]?.destroyed], [false, false]);
});

test('more clients than descriptors leave the mirror enough to fetch, keep and serve', async (t) => {
  const registry = await FakeRegistry.start(t);
  const mirror = await MirrorProcess.start(
    t,
    await createTempFolder(t),
    { upstreams: { [UPSTREAM]: { url: registry.url } }, defaultUpstream: UPSTREAM },
    { maxFiles: 256 },
  );
  const sockets: Socket[] = [];
  for (let count = 0; count < 400; count += 1) sockets.push(await dial(t, mirror.url));
  const blobs = Array.from({ length: 20 }, (_, seed) => buildBlob(`cold ${seed}`, MIB));
  for (const blob of blobs) registry.addBlob(REPOSITORY, blob);
  const answers = await Promise.all(
    blobs.map(async ({ digest }) => get(`${mirror.url}/v2/${REPOSITORY}/blobs/${digest}`)),
  );
  t.true(answers.every(({ status, body }, at) => status === 200 && body.equals(blobs[at]!.bytes)));
  for (const url of [mirror.url, mirror.adminUrl]) {
    for (let count = 0; count < 100; count += 1) sockets.push(await dial(t, url));
  }
  // A client has its last byte before the blob is on record.
  await until('all are kept', async () => {
    const { body } = await get(`${mirror.adminUrl}/api/v1/status`);
    const { store } = JSON.parse(body.toString()) as ServerStatus;
    return store.blobs === blobs.length;
  });
  t.pass();
});
