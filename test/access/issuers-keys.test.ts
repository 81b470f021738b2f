/** Keys that are fetched: from providers that change them, are away, or answer what nobody asked for. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { breakDisk } from '../faults/bad-sectors.ts';
import { createCertificates, issueCertificates } from '../helpers/certificate.ts';
import { Clock, HOUR, MINUTE, SECOND } from '../helpers/clock.ts';
import { Gate } from '../helpers/gate.ts';
import { createTempFolder, type MirrorOptions } from '../helpers/mirror.ts';
import { startProxy } from '../helpers/proxy.ts';
import { until } from '../helpers/until.ts';
import {
  givesKeys,
  jwksOf,
  serviceAccount,
  SigningKey,
  startKeyServer,
  type KeyServer,
} from './fake-issuer.ts';
import {
  basic,
  SECRET,
  startPrivateMirror,
  tokenIn,
  type Issuers,
  type PrivateMirror,
} from './private-mirror.ts';

const CLUSTER = 'https://kubernetes.default.svc';
const FETCHED = 'the keys of an issuer are fetched';
const NOT_FETCHED = 'the keys of an issuer cannot be fetched: those of before count';

type Jwks = NonNullable<Issuers['kubernetes']>[number]['jwks'];

interface Scene extends PrivateMirror {
  readonly key: SigningKey;
  readonly clock: Clock;
  readonly keys: KeyServer;
  readonly issuers: Issuers;
  /** Another token of the service account each time. */
  readonly token: (key?: SigningKey) => Promise<string>;
  readonly failures: () => readonly unknown[];
}

/** A cluster whose keys are fetched; its account `builder` may pull. */
async function start(t: ExecutionContext, others: Partial<MirrorOptions> = {}): Promise<Scene> {
  const [clock, key] = [new Clock(), new SigningKey()];
  const keys = await startKeyServer(t, givesKeys(key));
  const issuers = clusters({ prod: { url: keys.url } });
  const who = ['k8s:prod:team-a:builder'];
  const mirror = await startPrivateMirror(t, who, issuers, { clock, ...others });
  return {
    ...mirror,
    key,
    clock,
    keys,
    issuers,
    token: async (by = key) => tokenOf(by, clock),
    failures: () =>
      mirror.mirror.log.filter(({ msg }) => msg === NOT_FETCHED).map(({ reason }) => reason),
  };
}

function clusters(named: Readonly<Record<string, Jwks>>): Issuers {
  const kubernetes = Object.entries(named).map(([name, jwks]) => ({
    name,
    issuer: CLUSTER,
    audience: 'entrepot',
    jwks,
  }));
  return { kubernetes };
}

let made = 0;
async function tokenOf(key: SigningKey, clock: Clock): Promise<string> {
  const account = { at: clock.wall(), namespace: 'team-a', account: 'builder' };
  made += 1;
  return key.sign({ ...serviceAccount(CLUSTER, account), jti: String(made) });
}

test('keys are fetched when one is wanted, once for all who want one', async (t) => {
  const { keys, token, pull } = await start(t);
  const gate = new Gate();
  const answer = keys.answer;
  keys.answer = (request, response) => void gate.pass().then(() => answer(request, response));
  t.is(keys.requests.length, 0);
  const pulls = Array.from({ length: 20 }, async () => pull(await token()));
  await gate.arrived();
  gate.open();
  t.deepEqual(new Set(await Promise.all(pulls)), new Set([200]));
  t.is(keys.requests.length, 1);
});

test('thousands of unknown keys are a request in half a minute', async (t) => {
  const { keys, token, pull, clock } = await start(t);
  // Whoever makes it up needs no key.
  const [, claims = ''] = (await token()).split('.');
  const madeUp = (kid: string): string => {
    const head = JSON.stringify({ alg: 'ES256', kid });
    return `${Buffer.from(head).toString('base64url')}.${claims}.${'A'.repeat(86)}`;
  };
  const strangers = async (count: number): Promise<Set<number>> => {
    const statuses = new Set<number>();
    for (let place = 0; place < count; place += 50) {
      const some = Array.from({ length: 50 }, async (_, each) => pull(madeUp(`${place}-${each}`)));
      for (const status of await Promise.all(some)) statuses.add(status);
    }
    return statuses;
  };
  t.deepEqual(await strangers(2000), new Set([401]));
  t.is(keys.requests.length, 1);
  clock.advance(29 * SECOND);
  t.deepEqual(await strangers(50), new Set([401]));
  t.is(await pull(await token()), 200);
  t.is(keys.requests.length, 1);
  clock.advance(SECOND);
  t.deepEqual(await strangers(200), new Set([401]));
  t.is(keys.requests.length, 2);
});

test('while a provider is away, or answers nonsense, the last good keys count', async (t) => {
  const { keys, token, pull, clock, mirror, key, failures } = await start(t);
  t.is(await pull(await token()), 200);
  const good = keys.answer;
  const evil = new SigningKey();
  const says = (status: number, body: string, headers = {}): KeyServer['answer'] => {
    return (_request, response) => void response.writeHead(status, headers).end(body);
  };
  const many = Array.from({ length: 101 }, () => evil);
  const answers: readonly [KeyServer['answer'], reason: RegExp][] = [
    [says(503, ''), /answers 503$/],
    [says(401, jwksOf(evil)), /answers 401$/],
    [says(302, '', { location: 'http://127.0.0.1:9/' }), /answers 302$/],
    [(request) => request.socket.destroy(), /no connection to/],
    [says(200, '<html>log in</html>'), /is no JWKS/],
    [says(200, '{"keys":[]}'), /no public key/],
    [says(200, jwksOf(...many)), /at most 100 keys/],
    [says(200, `{"keys":[],"x":"${'x'.repeat(600_000)}"}`), /longer than 524288 bytes$/],
    [
      (_request, response) => {
        const more = (): void => void (response.write('['.repeat(65_536)) && setImmediate(more));
        response.on('drain', more);
        more();
      },
      /longer than 524288 bytes$/,
    ],
  ];
  for (const [place, [answer, reason]] of answers.entries()) {
    keys.answer = answer;
    clock.advance(10 * MINUTE);
    t.is(await pull(await token()), 200);
    await mirror.logged(NOT_FETCHED, place + 1);
    t.regex(String(failures().at(-1)), reason);
    t.is(await pull(await token(evil)), 401);
    // It is told once, until it is well again.
    clock.advance(MINUTE);
    t.is(await pull(await token(evil)), 401);
    t.is(failures().length, place + 1);
    keys.answer = good;
    clock.advance(MINUTE);
    t.is(await pull(await token(evil)), 401);
    await mirror.logged(FETCHED, place + 2);
  }
  t.is(await pull(await token(key)), 200);
});

test('nobody waits for a provider that is slow when its keys are known', async (t) => {
  const { keys, token, pull, clock } = await start(t, { timing: { headersMs: HOUR } });
  t.is(await pull(await token()), 200);
  const gate = new Gate();
  const answer = keys.answer;
  keys.answer = (request, response) => void gate.pass().then(() => answer(request, response));
  clock.advance(9 * MINUTE);
  t.is(await pull(await token()), 200);
  t.is(keys.requests.length, 1);
  clock.advance(2 * MINUTE);
  t.is(await pull(await token()), 200);
  await gate.arrived();
  t.is(await pull(await token()), 200);
  t.is(keys.requests.length, 2);
  gate.open();
});

test('a login waits for a silent provider as long as for any small answer, and no other one does', async (t) => {
  const { keys, token, pull, mirror, failures } = await start(t, { timing: { headersMs: 300 } });
  keys.answer = (_request, response) => void response.writeHead(200).write(' ');
  t.is(await pull(await token()), 401);
  await mirror.logged(NOT_FETCHED);
  t.regex(String(failures()[0]), /no whole answer from .* within 300 ms/);
  t.is(await pull(await token()), 401);
  t.is(keys.requests.length, 1);
});

test('a login waits no longer for an answer that grows, and a later one not at all', async (t) => {
  const { keys, token, pull } = await start(t, { timing: { headersMs: 300, stallMs: HOUR } });
  // Each KiB is a second more for all of it: five minutes.
  keys.answer = (_request, response) => void response.writeHead(200).write(' '.repeat(307_200));
  t.is(await pull(await token()), 401);
  t.is(await pull(await token()), 401);
  t.is(keys.requests.length, 1);
});

test('a new key of a provider counts after one more question; what an old one verified goes on', async (t) => {
  const { keys, token, pull, clock, become, issuers } = await start(t);
  const [seen, unseen] = [await token(), await token()];
  t.is(await pull(seen), 200);
  const next = new SigningKey();
  keys.answer = givesKeys(next);
  clock.advance(30 * SECOND);
  t.is(await pull(await token(next)), 200);
  t.is(keys.requests.length, 2);
  t.is(await pull(unseen), 401);
  t.is(await pull(seen), 200);
  clock.advance(HOUR - 31 * SECOND);
  t.is(await pull(seen), 200);
  // Two minutes after its end at the latest.
  clock.advance(2 * MINUTE + SECOND);
  t.is(await pull(seen), 401);
  const later = await token(next);
  t.is(await pull(later), 200);
  await become(['k8s:prod:team-a:builder'], {});
  t.is(await pull(later), 401);
  await become(['k8s:prod:team-a:builder'], issuers);
  t.is(await pull(later), 200);
});

test('after a restart the last good keys count while the provider is away', async (t) => {
  const storePath = await createTempFolder(t);
  const first = await start(t, { storePath });
  t.is(await first.pull(await first.token()), 200);
  await first.mirror.stop();
  const file = join(storePath, 'issuer-keys.json');
  t.is(statSync(file).mode & 0o777, 0o600);
  const [{ jwks }] = (
    JSON.parse(readFileSync(file, 'utf8')) as { sets: [{ jwks: { keys: object[] } }] }
  ).sets;
  t.deepEqual(
    jwks.keys.map((key) => Object.keys(key).toSorted()),
    [['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']],
  );
  first.keys.answer = (request) => request.socket.destroy();
  const who = ['k8s:prod:team-a:builder'];
  const options = { clock: first.clock, storePath };
  const second = await startPrivateMirror(t, who, first.issuers, options);
  t.is(await second.pull(await first.token()), 200);
  await second.mirror.logged(NOT_FETCHED);
  await second.mirror.stop();
  // What is damaged is fetched anew, and without an answer nobody is let in.
  writeFileSync(file, '{');
  const third = await startPrivateMirror(t, who, first.issuers, options);
  t.is(await third.pull(await first.token()), 401);
  first.keys.answer = givesKeys(first.key);
  first.clock.advance(MINUTE);
  t.is(await third.pull(await first.token()), 200);
});

test('kept keys that the disk does not give hold up no start: they are fetched anew', async (t) => {
  const storePath = await createTempFolder(t);
  const first = await start(t, { storePath });
  t.is(await first.pull(await first.token()), 200);
  await first.mirror.stop();
  const file = join(storePath, 'issuer-keys.json');
  await breakDisk(t, file, { call: 'read', times: 1 });
  const options = { clock: first.clock, storePath };
  const who = ['k8s:prod:team-a:builder'];
  const second = await startPrivateMirror(t, who, first.issuers, options);
  await second.mirror.logged('the kept keys of issuers are not read: fetched anew');
  t.is(await second.pull(await first.token()), 200);
});

test('a reload that leaves an issuer as it is leaves its keys, too; offline none are fetched', async (t) => {
  const { keys, token, pull, become, mirror, options, issuers } = await start(t);
  t.is(await pull(await token()), 200);
  await become(['k8s:prod:team-a:*'], issuers);
  t.is(await pull(await token()), 200);
  t.is(keys.requests.length, 1);
  await mirror.reload({ ...options, offline: true });
  t.is(await pull(await token()), 200);
  t.is(await pull(await token(new SigningKey())), 401);
  t.is(keys.requests.length, 1);
});

test('of clusters that share an issuer the key tells which one it is; one of two is of none', async (t) => {
  const clock = new Clock();
  const [one, other] = [new SigningKey(), new SigningKey()];
  const [prod, lab] = [
    await startKeyServer(t, givesKeys(one)),
    await startKeyServer(t, givesKeys(other)),
  ];
  const issuers = clusters({ prod: { url: prod.url }, lab: { url: lab.url } });
  const { pull, become, mirror } = await startPrivateMirror(t, ['k8s:prod:*'], issuers, { clock });
  const [ofProd, ofLab] = [await tokenOf(one, clock), await tokenOf(other, clock)];
  t.deepEqual([await pull(ofProd), await pull(ofLab)], [200, 404]);
  await become(['k8s:lab:*'], issuers);
  t.deepEqual([await pull(ofProd), await pull(ofLab)], [404, 200]);
  // The other cluster says that the key is its own.
  lab.answer = givesKeys(other, new SigningKey({ kid: one.kid }));
  clock.advance(10 * MINUTE);
  t.is(await pull(await tokenOf(other, clock)), 200);
  await mirror.logged(FETCHED, 3);
  t.is(await pull(ofProd), 401);
  t.is(await pull(await tokenOf(one, clock)), 401);
  t.is(await pull(ofLab), 200);
  const told = mirror.log.filter(({ kid }) => kid === one.kid);
  t.deepEqual(
    told.map(({ level, clusters: named }) => [level, named]),
    [['error', ['k8s:prod', 'k8s:lab']]],
  );
});

test('no cluster is chosen before all that share the issuer were asked', async (t) => {
  const [clock, key] = [new Clock(), new SigningKey()];
  const [prod, lab] = [
    await startKeyServer(t, givesKeys(key)),
    await startKeyServer(t, givesKeys(new SigningKey({ kid: key.kid }))),
  ];
  const issuers = clusters({ prod: { url: prod.url }, lab: { url: lab.url } });
  const { pull } = await startPrivateMirror(t, ['k8s:**'], issuers, { clock });
  t.is(await pull(await tokenOf(key, clock)), 401);
  t.deepEqual([prod.requests.length, lab.requests.length], [1, 1]);
});

test('an address is asked with its authority alone, and with a token as its file has it now', async (t) => {
  const [clock, key] = [new Clock(), new SigningKey()];
  const { ca, server } = await createCertificates();
  const keys = await startKeyServer(t, givesKeys(key), server);
  const folder = await createTempFolder(t);
  const [path, file] = [join(folder, 'ca.pem'), join(folder, 'token')];
  writeFileSync(path, ca);
  writeFileSync(file, 'hunter2\n');
  const trusting = clusters({
    prod: {
      url: keys.url,
      ca: { path, contents: String(ca) },
      token: { text: 'hunter2', file },
    },
  });
  const who = ['k8s:prod:team-a:builder'];
  const without = clusters({ prod: { url: keys.url } });
  const { pull, mirror, become } = await startPrivateMirror(t, who, without, { clock });
  t.is(await pull(await tokenOf(key, clock)), 401);
  t.true(
    mirror.log.some(({ reason }) =>
      String(reason).includes('set access.kubernetes[0].jwks.ca to the PEM file'),
    ),
  );
  await become(who, trusting);
  t.is(await pull(await tokenOf(key, clock)), 200);
  writeFileSync(file, 'hunter3\n');
  clock.advance(10 * MINUTE);
  t.is(await pull(await tokenOf(key, clock)), 200);
  await until('the keys were asked for again', () => keys.requests.length === 2);
  t.deepEqual(
    keys.requests.map(({ headers }) => headers.authorization),
    ['Bearer hunter2', 'Bearer hunter3'],
  );
  t.false(JSON.stringify(mirror.log).includes('hunter'));
});

test('keys that came by other authorities count no more, whatever answers there now', async (t) => {
  const [clock, key] = [new Clock(), new SigningKey()];
  const [mine, other] = [await createCertificates(), await createCertificates()];
  const keys = await startKeyServer(t, givesKeys(key), mine.server);
  const path = join(await createTempFolder(t), 'ca.pem');
  const by = (ca: Buffer | string): Issuers =>
    clusters({ prod: { url: keys.url, ca: { path, contents: String(ca) } } });
  const who = ['k8s:prod:team-a:builder'];
  const { pull, become, ask } = await startPrivateMirror(t, who, by(mine.ca), { clock });
  const jwt = await tokenOf(key, clock);
  const given = `Bearer ${tokenIn(await ask('/token?scope=repository:org/secret:pull', basic(jwt)))}`;
  t.is((await ask(SECRET, given)).status, 200);
  await become(who, by(other.ca));
  t.is(await pull(await tokenOf(key, clock)), 401);
  t.is((await ask(SECRET, given)).status, 401);
  await become(who, by(mine.ca));
  keys.answer = (request) => request.socket.destroy();
  t.is(await pull(await tokenOf(key, clock)), 200);
});

test('an address is asked through the proxy of the environment', async (t) => {
  const [clock, key] = [new Clock(), new SigningKey()];
  const wanted = { id: { names: ['DNS:id.example'] } };
  const { ca, issued } = await issueCertificates(wanted);
  const keys = await startKeyServer(t, givesKeys(key), issued.id);
  const proxy = await startProxy(t, { lead: () => new URL(keys.url).host });
  const path = join(await createTempFolder(t), 'ca.pem');
  writeFileSync(path, ca);
  const prod: Jwks = {
    url: 'https://id.example/keys',
    ca: { path, contents: String(ca) },
    environment: { HTTPS_PROXY: proxy.url },
  };
  const who = ['k8s:prod:team-a:builder'];
  const { pull } = await startPrivateMirror(t, who, clusters({ prod }), { clock });
  t.is(await pull(await tokenOf(key, clock)), 200);
  t.deepEqual(proxy.lines, ['CONNECT id.example:443']);
  t.deepEqual(
    keys.requests.map(({ url }) => url),
    ['/keys'],
  );
});
