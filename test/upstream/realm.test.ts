import test from 'ava';
import { addressClassOf, type AddressClass } from '../../src/net/address-class.ts';
import { HostList } from '../../src/config/host-list.ts';
import { refuseRealm } from '../../src/upstream/challenge.ts';

const NO_REALMS = HostList.of({ name: 'ghcr.io', storage: [], realms: [] }, 'realms');

type Verdict = 'always' | 'without credentials' | 'never';

/** Whether this realm may be asked for this registry. */
const REALMS: [registry: string, realm: string, asked: Verdict, why: string][] = [
  ['https://registry-1.docker.io', 'https://auth.docker.io/token', 'always', 'the same domain'],
  ['https://ghcr.io', 'https://ghcr.io/token', 'always', 'the same host'],
  ['https://dhi.io', 'https://auth.docker.io/token', 'always', 'known to belong together'],
  ['https://dhi.io', 'https://evil.docker.io/token', 'without credentials', 'not the known host'],
  ['https://registry.gitlab.com', 'https://gitlab.com/jwt/auth', 'always', 'the same domain'],
  ['https://us.icr.io', 'https://icr.io/oauth/token', 'always', 'the same domain'],
  ['https://reg.example:5000', 'https://reg.example:5001/token', 'always', 'the same host'],
  ['https://a.example.co.uk', 'https://b.example.co.uk/t', 'always', 'the same domain'],
  ['https://a.co.uk', 'https://b.co.uk/t', 'without credentials', 'only a public suffix in common'],
  ['https://me.github.io', 'https://you.github.io/t', 'without credentials', 'a private suffix'],
  ['https://ghcr.io', 'https://ghcr.io.evil.example/t', 'without credentials', 'another domain'],
  ['https://ghcr.io', 'https://evilghcr.io/token', 'without credentials', 'another domain'],
  ['https://ghcr.io', 'https://8.8.8.8/token', 'without credentials', 'another host'],
  ['https://8.8.8.8', 'https://8.8.4.4/token', 'without credentials', 'another host'],
  ['https://ghcr.io', 'http://ghcr.io/token', 'never', 'http for https'],
  ['http://reg.example', 'http://reg.example/token', 'always', 'http for http'],
  ['http://reg.example', 'https://reg.example/token', 'always', 'https for http'],
  ['https://ghcr.io', 'https://user@ghcr.io/token', 'never', 'user information'],
  ['https://ghcr.io', 'https://user:secret@ghcr.io/token', 'never', 'user information'],
  ['https://ghcr.io', 'https://ghcr.io@evil.example/token', 'never', 'user information'],
  ['https://ghcr.io', 'file:///etc/passwd', 'never', 'not http'],
  ['https://ghcr.io', 'ftp://ghcr.io/token', 'never', 'not http'],
  ['https://ghcr.io', 'https://localhost/token', 'never', 'internal'],
  ['https://ghcr.io', 'https://a.localhost/token', 'never', 'internal'],
  ['https://ghcr.io', 'https://127.0.0.1/token', 'never', 'internal'],
  ['https://ghcr.io', 'https://2130706433/token', 'never', 'internal, as a number'],
  ['https://ghcr.io', 'https://0x7f.1/token', 'never', 'internal, in hexadecimal'],
  ['https://ghcr.io', 'https://10.1.2.3/token', 'never', 'internal'],
  ['https://ghcr.io', 'https://172.16.0.1/token', 'never', 'internal'],
  ['https://ghcr.io', 'https://172.32.0.1/token', 'without credentials', 'public'],
  ['https://ghcr.io', 'https://192.168.0.1/token', 'never', 'internal'],
  ['https://ghcr.io', 'https://100.64.0.1/token', 'never', 'internal'],
  ['https://ghcr.io', 'https://169.254.169.254/token', 'never', 'link-local'],
  ['https://ghcr.io', 'https://[::1]/token', 'never', 'internal'],
  ['https://ghcr.io', 'https://[fd00::1]/token', 'never', 'internal'],
  ['https://ghcr.io', 'https://[fe80::1]/token', 'never', 'link-local'],
  ['https://ghcr.io', 'https://[::ffff:10.0.0.1]/token', 'never', 'internal, embedded'],
  ['https://ghcr.io', 'https://[64:ff9b::a9fe:a9fe]/token', 'never', 'link-local, translated'],
  ['https://ghcr.io', 'https://localhost./token', 'never', 'internal, with its root'],
  ['https://ghcr.io', 'https://[2606:4700::1111]/token', 'without credentials', 'public'],
  ['http://10.0.0.5:5000', 'http://10.0.0.5:5001/token', 'always', 'the same host'],
  ['http://10.0.0.5:5000', 'http://10.0.0.6/token', 'never', 'another internal host'],
  ['http://127.0.0.1:5000', 'http://localhost:5000/token', 'never', 'another internal host'],
];

for (const [registry, realm, asked, why] of REALMS) {
  const question = asked === 'without credentials' ? 'only without credentials' : asked;
  test(`${realm} is ${question === 'never' ? 'never asked' : `asked ${question}`} for ${registry}: ${why}`, (t) => {
    const refuse = (withCredentials: boolean): string | undefined =>
      refuseRealm(new URL(realm), new URL(registry), { withCredentials, realms: NO_REALMS });
    t.is(refuse(true) === undefined, asked === 'always', refuse(true));
    t.is(refuse(false) === undefined, asked !== 'never', refuse(false));
  });
}

test('the reason names the realm and never what could be secret in it', (t) => {
  const refuse = (realm: string): string | undefined =>
    refuseRealm(new URL(realm), new URL('https://ghcr.io'), {
      withCredentials: true,
      realms: NO_REALMS,
    });
  t.is(
    refuse('https://evil.example/token?key=hidden'),
    'token realm evil.example does not belong to ghcr.io: credentials are not sent there; if that is meant, list it in upstreams.ghcr.io.realms',
  );
  t.is(
    refuse('http://ghcr.io/token?key=hidden'),
    'token realm http://ghcr.io is http although the registry is https',
  );
  t.is(
    refuse('https://169.254.169.254/token?key=hidden'),
    'token realm 169.254.169.254 is an internal address of another host; if that is meant, list it in upstreams.ghcr.io.realms',
  );
  t.is(refuse('https://user:hidden@ghcr.io/token'), 'token realm carries user information');
});

const REACHES: Record<AddressClass, string[]> = {
  public: [
    'ghcr.io',
    'localhost.example',
    '8.8.8.8',
    '172.15.0.1',
    '172.32.0.1',
    '100.63.0.1',
    '100.128.0.1',
    '192.169.0.1',
    '169.253.0.1',
    '11.0.0.1',
    '[2606:4700::1111]',
  ],
  loopback: [
    'localhost',
    'LOCALHOST',
    'localhost.',
    'a.localhost',
    '0.0.0.0',
    '0.1.2.3',
    '127.0.0.1',
    '127.255.255.255',
    '[::]',
    '[::1]',
    '[::ffff:127.0.0.1]',
  ],
  internal: [
    '10.0.0.1',
    '100.64.0.1',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.0.1',
    '[fc00::1]',
    '[fdff::1]',
    '[::ffff:a00:1]',
    '[::ffff:10.0.0.1]',
  ],
  'link-local': [
    '169.254.169.254',
    '169.254.0.1',
    '[fe80::1]',
    '[febf::1]',
    '[::ffff:a9fe:a9fe]',
    '[64:ff9b::a9fe:a9fe]',
  ],
};

for (const [reach, hosts] of Object.entries(REACHES) as [AddressClass, string[]][]) {
  for (const host of hosts) test(`${host} is ${reach}`, (t) => t.is(addressClassOf(host), reach));
}

for (const [entry, host, port, isNamed] of [
  ['minio', 'minio', 9000, true],
  ['minio:9000', 'minio', 9000, true],
  ['minio:9000', 'minio', 80, false],
  ['minio', 'minio.evil.example', 9000, false],
  ['*.storage.svc.cluster.local', 'minio.storage.svc.cluster.local', 80, true],
  ['*.storage.svc.cluster.local', 'minio.other.svc.cluster.local', 80, false],
  ['*.corp.example:443', 's3.corp.example.', 443, true],
  ['*.corp.example:443', 's3.corp.example', 9000, false],
  ['10.20.30.0/24:9000', '10.20.30.40', 9000, true],
  ['10.20.30.0/24:9000', '10.20.30.40', 22, false],
  ['[fd12::7]:9000', 'fd12::7', 9000, true],
  ['[fd12::7]:9000', 'fd12::7', 22, false],
] as const) {
  test(`${entry} ${isNamed ? 'names' : 'does not name'} ${host} at ${port}`, (t) => {
    t.is(new HostList('upstreams.reg.example.storage', [entry]).has(host, port), isNamed);
  });
}
