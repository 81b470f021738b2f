/** Client certificates as identities, over real TLS: what counts, what does not, and for how long. */
import { X509Certificate } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { connect } from 'node:tls';
import { hashSync } from '@node-rs/bcrypt';
import test, { type ExecutionContext } from 'ava';
import type { Config } from '../../src/config/config.ts';
import { issueCertificates, type KeyPair, type Wanted } from '../helpers/certificate.ts';
import { get, type ClientAnswer, type GetOptions } from '../helpers/client.ts';
import { clockOf } from '../helpers/clock.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder, startMirror, type MirrorOptions } from '../helpers/mirror.ts';
import { until } from '../helpers/until.ts';

const HUB = 'hub.example';
const SECRET = buildImage({ seed: 'secret', layers: [1000] });
const SECRET_PATH = '/v2/org/secret/manifests/v1';
const WORKLOAD = 'spiffe://site/ci';
const FOR_CLIENTS = 'extendedKeyUsage=clientAuth';
const LOGGED = 'the certificate of a client does not count';

const RULES: NonNullable<Config['access']>['rules'] = [
  { who: ['cert:alice', `cert:${WORKLOAD}`], may: ['pull', 'list'], images: [`${HUB}/org/**`] },
  { who: ['user:bob'], may: ['pull'], images: [`${HUB}/team/**`] },
  { who: ['cert:ops'], may: ['admin'] },
];

/** A certificate that counts, by its common name alone unless it says otherwise. */
function client(commonName: string, wanted: Wanted = {}): Wanted {
  return { commonName, names: [], extensions: [FOR_CLIENTS], ...wanted };
}

const { ca: CA, issued: ISSUED } = await issueCertificates({
  server: { commonName: 'localhost', extensions: ['extendedKeyUsage=serverAuth'] },
  alice: client('alice'),
  carol: client('carol'),
  ops: client('ops'),
  workload: client('alice', { names: [`URI:${WORKLOAD}`, 'DNS:ci.example'] }),
  twoUris: client('x', { names: [`URI:${WORKLOAD}`, 'URI:spiffe://site/admin'] }),
  ended: client('alice', { days: -1 }),
  unsaid: client('alice', { extensions: [] }),
  intermediate: client('intermediate', { extensions: ['basicConstraints=critical,CA:TRUE'] }),
  below: client('alice', { by: 'intermediate' }),
  belowLeaf: client('alice', { by: 'carol' }),
});
const OTHER = await issueCertificates({ alice: client('alice') });

type Shown = KeyPair | undefined;

/** What a client sends with a certificate that is not signed by the root itself. */
function chain(leaf: KeyPair, ...above: readonly KeyPair[]): KeyPair {
  return { key: leaf.key, cert: Buffer.concat([leaf.cert, ...above.map(({ cert }) => cert)]) };
}

interface Options extends Partial<MirrorOptions> {
  /** That the clients are verified by. */
  readonly authority?: Buffer;
}

async function start(t: ExecutionContext, { authority = CA, ...options }: Options = {}) {
  const registry = await FakeRegistry.start(t);
  registry.addImage('org/secret', 'v1', SECRET);
  const folder = await createTempFolder(t);
  const place = (name: string, contents: Buffer | string): string => {
    const path = join(folder, name);
    writeFileSync(path, contents);
    return path;
  };
  const { server } = ISSUED;
  const tls = { cert: place('server.crt', server.cert), key: place('server.key', server.key) };
  const ca = place('clients.crt', authority);
  const htpasswd = { file: place('htpasswd', `bob:${hashSync('builder', 4)}\n`) };
  const all: MirrorOptions = {
    upstreams: { [HUB]: { url: registry.url } },
    listen: { tls },
    admin: { tls },
    access: { token: { ttl: 300_000 }, htpasswd, certificates: { ca }, rules: RULES },
    ...options,
  };
  const mirror = await startMirror(t, all);
  const ask = async (
    path: string,
    shown?: Shown,
    { headers, ...more }: GetOptions = {},
  ): Promise<ClientAnswer> =>
    get(`${mirror.url}${path}`, {
      headers: { accept: '*/*', ...headers },
      tls: { ca: CA, ...shown },
      ...more,
    });
  const reasons = (): unknown[] =>
    mirror.log.filter(({ msg }) => msg === LOGGED).map(({ reason }) => reason);
  return { mirror, options: all, ask, ca, reasons };
}

/** One connection for all requests. */
function keptAgent(t: ExecutionContext, shown: KeyPair): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: CA, ...shown });
  t.teardown(() => agent.destroy());
  return agent;
}

function basic(user: string, password: string): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
}

const tokenOf = ({ body }: ClientAnswer) =>
  JSON.parse(String(body)) as { token: string; expires_in: number };

test('a certificate is an identity at /v2/, for images, at /token and at the admin door', async (t) => {
  const { mirror, ask, reasons } = await start(t);
  const { alice, carol, ops, workload, twoUris } = ISSUED;
  t.is((await ask('/v2/')).status, 401);
  for (const shown of [alice, carol, workload]) t.is((await ask('/v2/', shown)).status, 200);
  t.is((await ask(SECRET_PATH)).status, 401);
  // The first URI counts before the common name.
  for (const shown of [alice, workload, twoUris]) t.is((await ask(SECRET_PATH, shown)).status, 200);
  t.is((await ask(SECRET_PATH, carol)).status, 404);
  t.is((await ask('/v2/org/secret/tags/list', alice)).headers['cache-control'], 'private');
  const subjects = mirror.log
    .filter(({ msg }) => msg === 'request')
    .map(({ subject }) => String(subject));
  t.deepEqual(
    [...new Set(subjects)].toSorted(),
    ['anonymous', 'cert:alice', 'cert:carol', `cert:${WORKLOAD}`].toSorted(),
  );
  const scope = `?scope=repository:${HUB}/org/secret:pull`;
  const { token } = tokenOf(await ask(`/token${scope}`, alice));
  const headers = { authorization: `Bearer ${token}` };
  t.is((await ask(SECRET_PATH, undefined, { headers })).status, 200);
  const admin = async (shown?: Shown): Promise<number> =>
    (await get(`${mirror.server.adminUrl}/api/v1/status`, { tls: { ca: CA, ...shown } })).status;
  t.deepEqual([await admin(ops), await admin(alice), await admin()], [200, 403, 401]);
  t.deepEqual(reasons(), []);
});

test('a certificate that is not verified is as none, and the log says why', async (t) => {
  const { ask, reasons } = await start(t);
  const { alice, intermediate, below, belowLeaf, carol, ended, unsaid, server } = ISSUED;
  const selfSigned = { cert: OTHER.ca, key: OTHER.issued.alice.key };
  const notVerified = (code: string): string =>
    `it is not verified by the authorities of access.certificates (${code})`;
  const notOfClients = 'its extended key usage does not name clientAuth';
  const faults: Readonly<Record<string, readonly [KeyPair, string]>> = {
    'of another authority': [OTHER.issued.alice, notVerified('UNABLE_TO_VERIFY_LEAF_SIGNATURE')],
    ended: [ended, notVerified('CERT_HAS_EXPIRED')],
    'of a server': [server, notVerified('INVALID_PURPOSE')],
    'for nothing in particular': [unsaid, notOfClients],
    'without what signed it': [below, notVerified('UNABLE_TO_VERIFY_LEAF_SIGNATURE')],
    'signed by a client': [chain(belowLeaf, carol), notVerified('INVALID_PURPOSE')],
  };
  for (const [what, [shown, reason]] of Object.entries(faults)) {
    const before = reasons().length;
    t.is((await ask('/v2/', shown)).status, 401, what);
    t.is((await ask(SECRET_PATH, shown)).status, 401, what);
    t.deepEqual(reasons().slice(before), [reason, reason], what);
  }
  // Who has no key for it cannot show it at all.
  await t.throwsAsync(ask('/v2/', selfSigned));
  t.is((await ask(SECRET_PATH, chain(below, intermediate))).status, 200);
  t.is((await ask(SECRET_PATH, alice)).status, 200);
});

/** A name of this kind by its bytes: what openssl would not write. */
function rawName(tag: number, value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  return Buffer.concat([lengthOf(tag, bytes.length), bytes]);
}

function lengthOf(tag: number, length: number): Buffer {
  return Buffer.from(length < 128 ? [tag, length] : [tag, 0x82, length >> 8, length & 0xff]);
}

const [MAIL, DNS, URI] = [0x81, 0x82, 0x86] as const;

function rawNames(...names: readonly Buffer[]): Wanted {
  const inside = Buffer.concat(names);
  const der = Buffer.concat([lengthOf(0x30, inside.length), inside]).toString('hex');
  return { names: [], extensions: [FOR_CLIENTS, `2.5.29.17=DER:${der}`] };
}

test('names that could be read in two ways name nobody', async (t) => {
  const { ca, issued } = await issueCertificates({
    newline: client('alice', rawNames(rawName(URI, `${WORKLOAD}\n`))),
    nul: client('alice', rawNames(rawName(URI, `${WORKLOAD}\0.evil`))),
    comma: client('alice', rawNames(rawName(URI, `${WORKLOAD}, URI:${WORKLOAD}`))),
    quote: client('alice', rawNames(rawName(URI, `"${WORKLOAD}"`))),
    space: client('alice', rawNames(rawName(URI, `${WORKLOAD} x`))),
    empty: client('alice', rawNames(rawName(URI, ''))),
    noScheme: client('alice', rawNames(rawName(URI, 'alice'))),
    long: client('alice', rawNames(rawName(URI, `spiffe://site/${'a'.repeat(250)}`))),
    second: client('alice', rawNames(rawName(URI, 'a b'), rawName(URI, WORKLOAD))),
    uriAsName: client('', { subject: String.raw`/CN=spiffe:\/\/site\/ci` }),
    twoNames: client('', { subject: '/CN=alice/CN=ops' }),
    nameNewline: client('', { subject: '/CN=alice\nCN=ops' }),
    nameComma: client('', { subject: '/CN=alice, CN=ops' }),
    nameQuote: client('', { subject: '/CN="alice"' }),
    nameless: client('', { subject: '/O=alice' }),
  });
  const { ask, reasons } = await start(t, { authority: ca });
  for (const [what, shown] of Object.entries(issued)) {
    const before = reasons().length;
    t.is((await ask('/v2/', shown)).status, 401, what);
    t.is((await ask(SECRET_PATH, shown)).status, 401, what);
    const reason =
      what === 'nameless'
        ? 'it has neither a URI among its names nor a common name'
        : 'its first URI, or its common name, has other characters than names may have, or there are several common names';
    t.deepEqual(reasons().slice(before), [reason, reason], what);
  }
});

function otherKind(...lines: readonly string[]): Wanted {
  return client('carol', {
    extensions: [FOR_CLIENTS, 'subjectAltName=@kinds', '[kinds]', ...lines],
  });
}

test('a name of another kind that reads like a URI in the list of names is none', async (t) => {
  const { ca, issued } = await issueCertificates({
    inDns: client('carol', rawNames(rawName(DNS, `x, URI:${WORKLOAD}, DNS:y`))),
    inMail: client('carol', rawNames(rawName(MAIL, `x@y, URI:${WORKLOAD}, z`))),
    inOther: otherKind(`otherName.1=1.3.6.1.4.1.311.20.2.3;UTF8:x, URI:${WORKLOAD}, y`),
    inFolder: otherKind('dirName.1=folder', '[folder]', `CN=x, URI:${WORKLOAD}, y`),
    inQuotes: client('carol', rawNames(rawName(DNS, `x", URI:${WORKLOAD}, DNS:"y`))),
  });
  const { ask, mirror } = await start(t, { authority: ca });
  for (const [what, shown] of Object.entries(issued)) {
    t.is((await ask(SECRET_PATH, shown)).status, 404, what);
  }
  const subjects = mirror.log
    .filter(({ msg }) => msg === 'request')
    .map(({ subject }) => String(subject));
  t.deepEqual([...new Set(subjects)], ['cert:carol']);
});

test('a certificate that ends counts no more, on a connection that stays open too, nor does a token for it', async (t) => {
  const { alice } = ISSUED;
  const endsAt = new X509Certificate(alice.cert).validToDate.getTime();
  let now = Date.now();
  const { ask, mirror, reasons } = await start(t, { clock: clockOf(() => now) });
  const agent = keptAgent(t, alice);
  t.is((await ask(SECRET_PATH, undefined, { agent })).status, 200);
  now = endsAt - 90_000;
  const scope = `?scope=repository:${HUB}/org/secret:pull`;
  const issued = tokenOf(await ask(`/token${scope}`, undefined, { agent }));
  t.is(issued.expires_in, 90);
  const headers = { authorization: `Bearer ${issued.token}` };
  const byToken = async (): Promise<number> =>
    (await ask(SECRET_PATH, undefined, { headers })).status;
  t.is(await byToken(), 200);
  now = endsAt - 1;
  t.is((await ask(SECRET_PATH, undefined, { agent })).status, 200);
  now = endsAt;
  t.is((await ask(SECRET_PATH, undefined, { agent })).status, 401);
  t.is((await ask('/v2/', undefined, { agent })).status, 401);
  t.is(await byToken(), 401);
  t.deepEqual(reasons(), ['it, or one of its authorities, has ended']);
  const ports = mirror.log.filter(({ msg }) => msg === 'request').length;
  t.is(ports, 7);
  t.is(Object.values(agent.freeSockets).flat().length, 1, 'all of it on one connection');
});

test('an authority that is taken out of the file counts no more, and one that is put in does', async (t) => {
  const { ask, mirror, ca, reasons } = await start(t);
  const { alice } = ISSUED;
  const agent = keptAgent(t, alice);
  const later = keptAgent(t, OTHER.issued.alice);
  t.is((await ask(SECRET_PATH, undefined, { agent })).status, 200);
  t.is((await ask(SECRET_PATH, undefined, { agent: later })).status, 401);
  const scope = `?scope=repository:${HUB}/org/secret:pull`;
  const { token } = tokenOf(await ask(`/token${scope}`, alice));
  const headers = { authorization: `Bearer ${token}` };
  t.is((await ask(SECRET_PATH, undefined, { headers })).status, 200);
  writeFileSync(ca, OTHER.ca);
  // Whatever TLS still knows of it: with the next request, and as clients do again where that meets its end.
  const next = async (): Promise<ClientAnswer> => ask(SECRET_PATH, undefined, { agent });
  t.is((await next().catch(next)).status, 401);
  t.is((await ask(SECRET_PATH, undefined, { headers })).status, 401);
  t.is(reasons().at(-1), 'its authority is not among those of access.certificates any more');
  // Of both listeners.
  await mirror.logged('certificate reloaded', 2);
  t.is((await ask(SECRET_PATH, alice)).status, 401);
  // The connection from before is closed, so that the next one shows its certificate anew.
  await until('the connection is closed', () => Object.keys(later.freeSockets).length === 0);
  t.is((await ask(SECRET_PATH, undefined, { agent: later })).status, 200);
  // What is half written takes nothing away.
  writeFileSync(ca, OTHER.ca.subarray(0, 200));
  await mirror.logged('certificate not reloaded, the old one stays', 2);
  t.is((await ask(SECRET_PATH, OTHER.issued.alice)).status, 200);
});

test('a file of authorities that goes away takes nothing away', async (t) => {
  const { ask, mirror, ca } = await start(t);
  const { alice } = ISSUED;
  rmSync(ca);
  t.is((await ask(SECRET_PATH, alice)).status, 200);
  await mirror.logged('the authorities of clients stay as they were');
  t.is((await ask(SECRET_PATH, alice)).status, 200);
});

test('certificates are asked for from the next start on; other rules count at once', async (t) => {
  const { ask, mirror, options } = await start(t, { admin: {} });
  const { alice, carol } = ISSUED;
  t.is((await ask(SECRET_PATH, alice)).status, 200);
  const rules: typeof RULES = [{ who: ['cert:carol'], may: ['pull'], images: [`${HUB}/org/**`] }];
  const { body } = await mirror.reload({ ...options, access: { token: { ttl: 300_000 }, rules } });
  t.deepEqual(body, {
    changed: ['access.htpasswd', 'access.rules'],
    restart: ['access.certificates'],
    warnings: [],
  });
  t.is((await ask(SECRET_PATH, alice)).status, 404);
  t.is((await ask(SECRET_PATH, carol)).status, 200);
});

test('a session of TLS is not taken up again: hands are shaken and the certificate is verified each time', async (t) => {
  const { mirror, ask, ca } = await start(t);
  const port = Number(new URL(mirror.url).port);
  const { alice } = ISSUED;
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const first = await pullBySession({ port, maxVersion, ...alice });
    t.regex(first.answer, /^HTTP\/1\.1 200 /);
    // Without the certificate, the session would be all that speaks for it.
    const second = await pullBySession({ port, maxVersion, session: first.session });
    t.is(second.isReused, false);
    t.regex(second.answer, /^HTTP\/1\.1 401 /);
  }
  const { session } = await pullBySession({ port, maxVersion: 'TLSv1.3', ...alice });
  writeFileSync(ca, OTHER.ca);
  await mirror.logged('certificate reloaded', 2);
  const after = await pullBySession({ port, maxVersion: 'TLSv1.3', session, ...alice });
  t.is(after.isReused, false);
  t.regex(after.answer, /^HTTP\/1\.1 401 /);
  t.is((await ask(SECRET_PATH, OTHER.issued.alice)).status, 200);
});

interface Session extends Partial<KeyPair> {
  readonly port: number;
  readonly maxVersion: 'TLSv1.2' | 'TLSv1.3';
  readonly session?: Buffer | undefined;
}

/** One pull on a connection that takes up this session where the server lets it, and the session that it leaves. */
async function pullBySession(options: Session) {
  const socket = connect({ host: '127.0.0.1', ca: CA, ...options });
  let session: Buffer | undefined;
  socket.on('session', (given: Buffer) => (session = given));
  let isReused: boolean | undefined;
  socket.on('secureConnect', () => (isReused = socket.isSessionReused()));
  socket.write(
    `GET ${SECRET_PATH} HTTP/1.1\r\nHost: hub\r\nAccept: */*\r\nConnection: close\r\n\r\n`,
  );
  const answer = await text(socket);
  return { answer, session, isReused };
}

test('where both are shown the header decides if it counts here, else the certificate', async (t) => {
  const { ask, mirror } = await start(t);
  const { alice } = ISSUED;
  const said = (): unknown => mirror.log.filter(({ msg }) => msg === 'request').at(-1)?.['subject'];
  const bob = basic('bob', 'builder');
  t.is((await ask(SECRET_PATH, alice, { headers: bob })).status, 404);
  t.is(said(), 'user:bob');
  for (const foreign of [
    basic('bob', 'wrong'),
    basic('_json_key', '{"type":"service_account"}'),
    { authorization: 'Bearer of.another.registry' },
    { authorization: 'Negotiate x' },
  ]) {
    t.is((await ask(SECRET_PATH, alice, { headers: foreign })).status, 200);
    t.is(said(), 'cert:alice');
  }
  // A login with a wrong password fails, whoever shows which certificate.
  const login = '/token?service=any';
  t.is((await ask(login, alice, { headers: basic('bob', 'wrong') })).status, 401);
  t.is((await ask(login, alice)).status, 200);
  t.is((await ask(login, alice, { headers: bob })).status, 200);
  const form = async (fields: Record<string, string>): Promise<number> => {
    const body = new URLSearchParams({ service: 'any', ...fields }).toString();
    const headers = {
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': String(body.length),
    };
    return (await ask('/token', alice, { method: 'POST', headers, body })).status;
  };
  t.is(await form({ grant_type: 'password', username: 'bob', password: 'builder' }), 200);
  t.is(await form({ grant_type: 'password', username: 'bob', password: 'other' }), 401);
  t.is(await form({ grant_type: 'refresh_token', refresh_token: 'of another' }), 401);
});

test('behind a proxy nobody is known by a certificate: neither by a header that tells of one nor by that of the proxy', async (t) => {
  const { alice } = ISSUED;
  const pem = String(alice.cert).replaceAll('\n', ' ');
  const headers = {
    'x-forwarded-for': '192.0.2.1',
    'x-forwarded-client-cert': `Hash=00;Subject="CN=alice";URI=${WORKLOAD}`,
    'client-cert': `:${new X509Certificate(alice.cert).raw.toString('base64')}:`,
    'x-ssl-client-cert': encodeURIComponent(pem),
    'x-ssl-client-s-dn': 'CN=alice',
    'x-ssl-client-verify': 'SUCCESS',
    'ssl-client-cert': pem,
  };
  const proxied = await start(t, { trustProxy: ['127.0.0.1'] });
  t.is((await proxied.ask(SECRET_PATH, undefined, { headers })).status, 401);
  t.is((await proxied.ask(SECRET_PATH, alice, { headers })).status, 401);
  const direct = await start(t);
  t.is((await direct.ask(SECRET_PATH, undefined, { headers })).status, 401);
  t.is((await direct.ask(SECRET_PATH, alice, { headers })).status, 200);
});
