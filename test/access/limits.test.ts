/** Turns are fair between those who say who they are, and nobody has more downloads than the limit while others want some. */
import { writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { hashSync } from '@node-rs/bcrypt';
import test, { type ExecutionContext } from 'ava';
import type { Config } from '../../src/config/config.ts';
import { get, open, type GetOptions, type OpenResponse } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import type { Gate } from '../helpers/gate.ts';
import { buildBlob, type Stored } from '../helpers/image.ts';
import { createTempFolder, startMirror, type MirrorOptions } from '../helpers/mirror.ts';

const MIB = 1024 * 1024;
const HUB = 'hub.example';
const OTHER = 'other.example';
const USERS = ['alice', 'bob', 'carol'];
const RULES: NonNullable<Config['access']>['rules'] = [
  { who: ['user:*'], may: ['pull'], images: [`${HUB}/team/**`, `${OTHER}/team/**`] },
  { who: ['anonymous'], may: ['pull'], images: [`${HUB}/open/**`] },
  { who: ['anonymous'], may: ['admin'] },
];

/** A blob that stands still in the middle of its transfer until its gate opens. */
interface Held {
  readonly blob: Stored;
  readonly gate: Gate;
  readonly repository: string;
  /** The requests of the mirror for it. */
  readonly asked: () => string[];
}

async function startSite(
  t: ExecutionContext,
  { places, downloads }: { places: number; downloads?: number },
) {
  const [registry, other] = [await FakeRegistry.start(t), await FakeRegistry.start(t)];
  const file = join(await createTempFolder(t), 'htpasswd');
  writeFileSync(file, USERS.map((user) => `${user}:${hashSync(user, 4)}\n`).join(''));
  const optionsOf = (limit?: number): MirrorOptions => ({
    upstreams: {
      [HUB]: { url: registry.url, concurrency: places },
      [OTHER]: { url: other.url, concurrency: 1 },
    },
    // What stands still keeps its place.
    timing: { turnMs: 60_000 },
    access: {
      token: { ttl: 300_000 },
      htpasswd: { file },
      rules: RULES,
      ...(limit !== undefined && { limits: { downloads: limit } }),
    },
  });
  const mirror = await startMirror(t, optionsOf(downloads));
  const add = (name: string, repository = 'team/app', at = registry): Held => {
    const blob = at.addBlob(repository, buildBlob(name, 2 * MIB), { name });
    const gate = at.hold(blob, { after: 1000 });
    const asked = (): string[] =>
      at.requests
        .filter(({ path, method }) => path.endsWith(blob.digest) && method === 'GET')
        .map(({ range = '' }) => `GET ${range}`.trim());
    return { blob, gate, repository, asked };
  };
  const openings: { held: Held; opened: OpenResponse }[] = [];
  /** Resolves when its client has headers: it is in line by then. */
  const pull = async (held: Held, options: GetOptions, upstream = HUB): Promise<void> => {
    const url = `${mirror.url}/v2/${held.repository}/blobs/${held.blob.digest}?ns=${upstream}`;
    const opened = await open(url, options);
    t.is(opened.status, 200);
    openings.push({ held, opened });
  };
  /** Nothing was refused: all that was begun ends well. */
  const finish = async (): Promise<void> => {
    for (const { held } of openings) held.gate.open();
    for (const { held, opened } of openings) {
      t.true((await opened.rest()).equals(held.blob.bytes));
    }
  };
  const limit = async (to: number): Promise<unknown> => (await mirror.reload(optionsOf(to))).body;
  return { mirror, other, add, pull, finish, limit };
}

function by(user: string, from = '127.0.0.1'): GetOptions {
  const pair = Buffer.from(`${user}:${user}`).toString('base64');
  return {
    headers: { authorization: `Basic ${pair}` },
    agent: new Agent({ localAddress: from }),
  };
}

test('users behind one address have turns of their own', async (t) => {
  const { add, pull, finish } = await startSite(t, { places: 2 });
  const [first, second, third, bobs] = [add('a1'), add('a2'), add('a3'), add('b1')];
  for (const held of [first, second, third]) await pull(held, by('alice'));
  await pull(bobs, by('bob'));
  t.deepEqual(
    [second, third, bobs].map(({ asked }) => asked()),
    [['GET'], [], []],
  );
  // Of the one that has all places the youngest makes way, with its next bytes.
  second.gate.open();
  await bobs.gate.arrived();
  t.deepEqual(
    [second, third].map(({ asked }) => asked()),
    [['GET'], []],
  );
  await finish();
});

test('an account is one, from however many addresses', async (t) => {
  const { add, pull, finish } = await startSite(t, { places: 2 });
  const [first, second, third, bobs] = [add('c1'), add('c2'), add('c3'), add('b1')];
  for (const [n, held] of [first, second, third].entries()) {
    await pull(held, by('carol', `127.0.0.${n + 2}`));
  }
  await pull(bobs, by('bob'));
  second.gate.open();
  await bobs.gate.arrived();
  t.deepEqual(third.asked(), []);
  await finish();
});

test('past the limit one waits while others want places, and gives back what was taken before', async (t) => {
  const { add, pull, finish, limit } = await startSite(t, { places: 4 });
  t.deepEqual(await limit(2), { changed: ['access.limits'], restart: [], warnings: [] });
  const mine = ['a1', 'a2', 'a3', 'a4', 'a5'].map((name) => add(name));
  const [first, second, third, fourth, fifth] = mine as [Held, Held, Held, Held, Held];
  for (const held of mine) await pull(held, by('alice'));
  // A lone one has all places.
  await Promise.all([first, second, third, fourth].map(async ({ gate }) => gate.arrived()));
  const bobs = [add('b1'), add('b2')] as const;
  for (const held of bobs) await pull(held, by('bob'));
  fourth.gate.open();
  await bobs[0].gate.arrived();
  third.gate.open();
  await bobs[1].gate.arrived();
  t.deepEqual(
    mine.map(({ asked }) => asked()),
    [['GET'], ['GET'], ['GET'], ['GET'], []],
  );
  t.deepEqual(
    [first, second, fifth].map(({ gate }) => gate.isOpen),
    [false, false, false],
  );
  await finish();
  // Both that made way went on from where they were.
  for (const { asked } of [third, fourth]) t.regex(String(asked()), /^GET,GET bytes=\d+-/);
});

test('the limit is of all upstreams together', async (t) => {
  const { add, pull, finish, other } = await startSite(t, { places: 2, downloads: 2 });
  for (const name of ['a1', 'a2']) await pull(add(name), by('alice'));
  const [carols, alices, bobs] = ['c', 'a3', 'b'].map((name) => add(name, 'team/app', other)) as [
    Held,
    Held,
    Held,
  ];
  await pull(carols, by('carol'), OTHER);
  await carols.gate.arrived();
  await pull(alices, by('alice'), OTHER);
  await pull(bobs, by('bob'), OTHER);
  carols.gate.open();
  await bobs.gate.arrived();
  t.deepEqual(alices.asked(), []);
  await finish();
});

test('also of open images who has said it without a cost is who waits; a secret of another registry is its address', async (t) => {
  const { mirror, add, pull, finish } = await startSite(t, { places: 2 });
  const token = async (user: string): Promise<GetOptions> => {
    const url = `${mirror.url}/token?scope=repository:${HUB}/open/app:pull`;
    const { body } = await get(url, by(user));
    const issued = JSON.parse(String(body)) as { token: string };
    return { headers: { authorization: `Bearer ${issued.token}` } };
  };
  const foreign = { headers: { authorization: `Basic ${btoa('hub-user:hub-password')}` } };
  const [first, second, third, bobs] = ['a1', 'a2', 'a3', 'b1'].map((name) =>
    add(name, 'open/app'),
  ) as [Held, Held, Held, Held];
  const alice = await token('alice');
  for (const held of [first, second, third]) await pull(held, alice);
  await pull(bobs, foreign);
  second.gate.open();
  await bobs.gate.arrived();
  t.deepEqual(third.asked(), []);
  await finish();
  const told = mirror.log
    .filter(({ kind }) => kind === 'blob')
    .map(({ subject }) => String(subject));
  t.deepEqual(told.toSorted(), ['anonymous', 'user:alice', 'user:alice', 'user:alice']);
});
