/** What people read of upstreams: errors of pulls, and what `doctor` finds. */
export const TEXTS = {
  // What an upstream answers that is no content.
  page: ({ host }: { host: string }) => `${host} sent an HTML page`,
  encodedAs: ({ encoding }: { encoding: string }) => `content encoded as ${encoding}`,
  notEncoded: 'content that is no such encoding',
  growsWithoutEnd: 'content that grows without end when it is decoded',
  encodedRange: ({ host, encoding }: { host: string; encoding: string }) =>
    `${host} sent a range of the content encoded as ${encoding}`,
  refused: ({ host, login }: { host: string; login: string }) =>
    `${host} refused access ${login} (401)`,
  denied: ({ host, login }: { host: string; login: string }) =>
    `${host} denied access ${login} (403)`,
  redirectRefused: ({ host }: { host: string }) => `${host} refused the registry's redirect (403)`,
  rateLimited: ({ host }: { host: string }) => `${host} limits the rate of requests (429)`,
  loop: ({ host }: { host: string }) => `${host} found the request going in a loop (508)`,
  answered: ({ host, status }: { host: string; status: number }) => `${host} answered ${status}`,
  anonymously: 'anonymously',
  withCredentials: 'with the configured credentials',
  mirrorSays: ({ warning }: { warning: string }) => `its mirror says: ${warning}`,
  copyNotConfirmed: 'its copy is not confirmed',
  manifestTooLarge: ({ bytes }: { bytes: number }) => `a manifest larger than ${bytes} bytes`,
  otherDigest: ({ digest, expected }: { digest: string; expected: string }) =>
    `bytes with digest ${digest} for ${expected}`,
  sent: ({ host, what }: { host: string; what: string }) => `${host} sent ${what}`,
  otherRange: ({ host, start, range }: { host: string; start: number; range: string }) =>
    `${host} answered a range from ${start} with "${range}"`,
  listWithout: ({ kind, field }: { kind: string; field: string }) =>
    `a list of ${kind} without ${field}`,
  noList: ({ host, kind }: { host: string; kind: string }) =>
    `${host} sent no JSON list of ${kind}`,
  pageTooLarge: ({ host, bytes }: { host: string; bytes: number }) =>
    `${host} sent more than ${bytes} bytes as one page of a list`,
  pagesInCircle: 'a list whose pages lead back to one of them',
  tooManyPages: ({ most }: { most: number }) => `a list of more than ${most} pages`,
  tooManyEntries: ({ most }: { most: number }) => `a list of more than ${most} entries`,
  tooMuchMemory: ({ bytes }: { bytes: number }) =>
    `a list that takes more than its share of ${bytes} bytes of memory`,
  tooSlow: ({ ms }: { ms: number }) => `a list that takes longer than ${ms} ms`,
  // Why an upstream is not asked.
  offline: 'this mirror is set offline and asks no upstream',
  /** The cause comes first: clients show the beginning. */
  down: ({ seconds, reason }: { seconds: number; reason: string }) => `${reason}, for ${seconds} s`,
  shareTaken: 'half of what is left of its quota is kept for other clients that ask',
  reserveKept: 'what is left of its quota is kept for interactive pulls',
  limited: 'limits the rate of requests (429), and is not asked before that ends',
  // Where an upstream leads and nobody follows.
  moved: ({ host, key, url }: { host: string; key: string; url: string }) =>
    `; ${host} has moved: write ${key}: ${url}`,
  redirectWithoutLocation: 'a redirect without Location',
  redirectToNoUrl: 'a redirect to something that is no URL',
  redirectToProtocol: ({ protocol }: { protocol: string }) => `a redirect to a ${protocol} URL`,
  redirectToHttp: ({ host }: { host: string }) => `a redirect from https to http (${host})`,
  tooManyRedirects: ({ most }: { most: number }) => `more than ${most} redirects`,
  realmProtocol: ({ origin }: { origin: string }) => `token realm ${origin} is not http or https`,
  realmUser: 'token realm carries user information',
  realmHttp: ({ origin }: { origin: string }) =>
    `token realm ${origin} is http although the registry is https`,
  realmInside: ({ host, key }: { host: string; key: string }) =>
    `token realm ${host} is an internal address of another host; if that is meant, list it in ${key}`,
  realmForeign: ({ host, registry, key }: { host: string; registry: string; key: string }) =>
    `token realm ${host} does not belong to ${registry}: credentials are not sent there; if that is meant, list it in ${key}`,
  // Logins.
  unknownLogin: 'asks for a login in a way that is not Bearer or Basic',
  loginRefused: 'the upstream refuses the login of an account',
  loginTaken: 'the upstream takes the login of the account again',
  hiddenPerhaps: ({ host }: { host: string }) =>
    `${host} answered 404 without a login, and its /v2/ did not say how to log in`,
  noCredentials: 'asks for a login and no credentials are configured',
  tokenForPassword: 'asks for a password and has an identity token configured',
  noRealm: 'its challenge names no token realm',
  noToken: ({ host }: { host: string }) => `the token service ${host} sent no token`,
  tokenAnswered: ({ host, status }: { host: string; status: number }) =>
    `the token service ${host} answered ${status}`,
  tokenRefused: ({ reason, login, said }: { reason: string; login: string; said: string }) =>
    `${reason} to ${login}${said}`,
  theCredentials: 'the configured credentials',
  nobody: 'an anonymous request',
  // What issues credentials.
  noCredential: ({ label, reason }: { label: string; reason: string }) =>
    `no credential from ${label}: ${reason}`,
  providerSilent: ({ seconds }: { seconds: number }) => `no answer within ${seconds} s`,
  unknownFault: 'an unknown fault',
  notJson: 'what was read is not JSON',
  noAccessToken: 'an answer without an access token',
  noRefreshToken: ({ host }: { host: string }) =>
    `the token exchange ${host} sent no refresh token`,
  exchangeAnswered: ({ host, status }: { host: string; status: number }) =>
    `the token exchange ${host} answered ${status} to the Azure identity`,
  noIdentity: ({ reasons }: { reasons: string }) => `no identity found: ${reasons}`,
  noAuthorization: 'an answer without an authorization token',
  unreadable: ({ status }: { status: number }) =>
    `an answer with status ${status} that cannot be read`,
  noServiceAccount: "the key is not a service account's JSON key",
  googleAnswered: ({ status }: { status: number }) => `Google answered ${status}`,
  helperFailed: ({ program, reason }: { program: string; reason: string }) =>
    `${program} ${reason}`,
  helperSilent: ({ program, server }: { program: string; server: string }) =>
    `${program} printed no Username and Secret for ${server}`,
  helperMissing: 'is not on the PATH',
  helperDenied: 'may not be run',
  helperTalks: 'printed too much',
  helperWithout: ({ server }: { server: string }) => `has no credentials for ${server}`,
  helperSaid: ({ said }: { said: string }) => `failed${said}`,
  secretKept: 'the file of a secret cannot be used, and the secret of before is kept',
  secretRenewed: 'the file of a secret is read again',
  certificatesKept: 'a file under tls cannot be used, and what it held before is kept',
  certificatesRenewed: 'the files under tls are read again',
  configNotJson: ({ file }: { file: string }) =>
    `${file} is not JSON as docker login or podman login writes it`,
  configWithout: ({ file, server }: { file: string; server: string }) =>
    `${file} has no credentials for ${server}`,
  configHelper: ({ file }: { file: string }) =>
    `${file} names a credential helper that cannot be a program`,
  // What `doctor` finds, and what an operator can do about it.
  checkOffline: 'the configuration says offline: nothing is dialled',
  notReached: 'not reached',
  nameAnImage: 'name an image of this upstream on the command line',
  noneNamed: 'none named',
  toldWithImages: 'told with images only',
  plainHttp: 'the url is http',
  noTimeLeft: 'no time left',
  outOfTime: ({ seconds }: { seconds: number }) =>
    `no answer within the ${seconds} s that all checks have`,
  findDroppingFirewall: 'look for a firewall that drops packets on the way, and try again',
  findHoldingProxy:
    'try later; if it stays so, look for a proxy or firewall on the way that holds requests',
  findCuttingProxy: 'look for a proxy or firewall on the way that cuts connections',
  writeHttps: ({ key, way }: { key: string; way: string }) =>
    `if the registry speaks TLS, write ${key} with https://; else ${way}`,
  setClientCertificateElse: ({ key, way }: { key: string; way: string }) =>
    `if the registry asks for a client certificate, set ${key} and tls.key; else ${way}`,
  unknownCause: 'unknown fault',
  faultOf: ({ of, reason }: { of: string; reason: string }) => `${of}: ${reason}`,
  proxyKey: ({ key }: { key: string }) => `${key} (or HTTPS_PROXY)`,
  proxied: ({ address }: { address: string }) => `the proxy ${address}`,
  isAddress: ({ subject }: { subject: string }) => `${subject} is an address`,
  hasAddresses: ({ subject, addresses }: { subject: string; addresses: string }) =>
    `${subject} is ${addresses}`,
  noAddress: ({ subject, code }: { subject: string; code: string }) =>
    `${subject} has no address (${code})`,
  checkName: ({ key, host }: { key: string; host: string }) =>
    `check the spelling in ${key} and the DNS servers of this machine; ask them with: getent hosts ${host}`,
  connected: ({ address, ms }: { address: string; ms: number }) => `${address} in ${ms} ms`,
  proxyConnects: ({ address, target, ms }: { address: string; target: string; ms: number }) =>
    `the proxy ${address} connects to ${target} in ${ms} ms`,
  noTunnel: ({ address, target, code }: { address: string; target: string; code: string }) =>
    `the proxy ${address} gave no tunnel to ${target} (${code})`,
  checkProxy: ({ key, target }: { key: string; target: string }) =>
    `check that ${key} is an http proxy that allows CONNECT to ${target}`,
  tunnelRefused: (proxy: { address: string; target: string; status: number }) =>
    `the proxy ${proxy.address} refused CONNECT ${proxy.target} (${proxy.status})`,
  setProxyLogin: 'set HTTPS_PROXY to http://USER:PASSWORD@HOST:PORT with a login of the proxy',
  allowConnect: ({ target }: { target: string }) => `allow CONNECT to ${target} in the proxy`,
  connectionRefused: ({ subject, code }: { subject: string; code: string }) =>
    `${subject} refuses the connection (${code})`,
  checkPort: ({ key, port, host }: { key: string; port: number; host: string }) =>
    `check the port in ${key}, that the server runs, and that no firewall rejects port ${port} to ${host}`,
  noConnection: ({ subject, code }: { subject: string; code: string }) =>
    `no connection to ${subject} (${code})`,
  openPort: ({ port, host, more }: { port: number; host: string; more: string }) =>
    `open port ${port} (TCP, outgoing) to ${host} in the firewall, check the route${more}`,
  orSetProxy: ', or set a proxy',
  certificate: (found: { issuer: string; days: number; trusted: string }) =>
    `certificate of ${found.issuer}, ${found.days} days left; trusted are ${found.trusted}`,
  caAlone: 'the authorities of tls.ca alone',
  authorities: ({ system, ca }: { system: boolean; ca: boolean }) =>
    `the public authorities${system ? ', those of the system' : ''}${ca ? ', those of tls.ca' : ''}`,
  renewBefore: ({ host, day }: { host: string; day: string }) =>
    `renew the certificate of ${host} before ${day}`,
  uncheckedValid: 'not checked, although valid',
  remove: ({ key }: { key: string }) => `remove ${key}`,
  thenRemove: ({ advice, key }: { advice: string; key: string }) => `${advice}, then remove ${key}`,
  uncheckedInvalid: ({ fault }: { fault: string }) => `not checked, and not valid: ${fault}`,
  expired: ({ host, day }: { host: string; day: string }) =>
    `the certificate of ${host}, or one above it, has expired (its own end: ${day})`,
  renewCertificate: 'renew it; if it was renewed, set the clock of this machine (NTP)',
  notYetValid: ({ host, day }: { host: string; day: string }) =>
    `the certificate of ${host} is valid from ${day}`,
  setClock: 'set the clock of this machine (NTP)',
  otherNames: ({ host, names }: { host: string; names: string }) =>
    `the certificate is not for ${host} but for ${names}`,
  useTheseNames: ({ key, host }: { key: string; host: string }) =>
    `use one of these names in ${key}, or have a certificate issued for ${host}`,
  unknownAuthority: ({ issuer, code }: { issuer: string; code: string }) =>
    `unknown authority ${issuer} (${code})`,
  setAuthority: ({ key }: { key: string }) =>
    `set ${key} to the PEM file of your authority, or of the firewall that opens TLS on the way`,
  notAccepted: ({ host, issuer, code }: { host: string; issuer: string; code: string }) =>
    `the certificate of ${host} by ${issuer} is not accepted (${code})`,
  haveAccepted: ({ host }: { host: string }) =>
    `have a certificate issued for ${host} that curl accepts`,
  noTlsSpoken: ({ address, code }: { address: string; code: string }) =>
    `${address} does not speak TLS (${code})`,
  checkPortOrHttp: ({ key }: { key: string }) =>
    `check the port; if it is an http registry, write ${key} with http://`,
  handshakeRefused: ({ address, code }: { address: string; code: string }) =>
    `${address} refused the TLS handshake (${code})`,
  setClientCertificate: ({ key }: { key: string }) =>
    `if it asks for a client certificate, set ${key} and tls.key`,
  noTls: ({ address, code }: { address: string; code: string }) =>
    `no TLS with ${address} (${code})`,
  findTlsFirewall:
    'look for a firewall or proxy on the way that cuts TLS, and allow this host there',
  toRegistry: 'to /v2/',
  noRegistry: ({ host }: { host: string }) => `${host} has no /v2/ (404)`,
  checkUrl: ({ key }: { key: string }) =>
    `check ${key}: it is the address in front of /v2/, of a registry and not of its web pages`,
  noLogin: '/v2/ asks for no login (200)',
  otherLogin: ({ schemes }: { schemes: string }) => `/v2/ asks for a login (401) by ${schemes}`,
  noScheme: 'nothing that it names',
  offerLogin:
    'have the registry offer Bearer or Basic; a proxy in front of it may hide its WWW-Authenticate header',
  basicLogin: '/v2/ asks for a login (401): Basic',
  noTokenService: '/v2/ asks for a token (401) and names no service for it',
  setRealm: 'set the realm of the token service in the configuration of the registry',
  bearerLogin: ({ origin, way }: { origin: string; way: string }) =>
    `/v2/ asks for a token (401): Bearer, from ${origin}${way}`,
  throughProxy: ({ address }: { address: string }) => ` through the proxy ${address}`,
  correctRealm: ({ key }: { key: string }) =>
    `check that ${key} is the registry itself; if it is, correct the realm in its configuration`,
  redirected: ({ where }: { where: string }) => `/v2/ is answered with ${where}`,
  redirectTo: ({ origin }: { origin: string }) => `a redirect to ${origin}`,
  setUrlOrSignIn: ({ key }: { key: string }) =>
    `if pulls fail, set ${key} to the registry itself, or sign this machine in at the portal that redirects it`,
  waitAndSetAccount: ({ key }: { key: string }) =>
    `wait, and set ${key} of an account with a higher limit`,
  waitOrSetAccount: ({ key }: { key: string }) =>
    `wait, or set ${key} of an account with a higher limit`,
  haveAdmitted: ({ host }: { host: string }) =>
    `have the address of this machine admitted by ${host}, or allow it in the firewall on the way`,
  askOperator: ({ of }: { of: string }) => `try later, and ask the operator of ${of}`,
  checkUrlOrPortal: ({ key }: { key: string }) =>
    `check ${key}; a portal or proxy on the way may answer in place of the registry`,
  noAnswer: 'no answer to compare with',
  noDate: 'the answer has no date',
  clockRight: ({ seconds }: { seconds: number }) => `within ${seconds} s of the registry's`,
  clockAhead: ({ by }: { by: string }) => `this machine is ${by} ahead of the registry`,
  clockBehind: ({ by }: { by: string }) => `this machine is ${by} behind the registry`,
  setClockFor:
    'set the clock (NTP): tokens and certificates are refused by the date; check it with timedatectl',
  inWindow: ({ window }: { window: string }) => ` in ${window}`,
  nothingLeft: ({ label, limit, window }: { label: string; limit: string; window: string }) =>
    `${label}: nothing left of ${limit}${window}`,
  refusedFor: ({ label, seconds }: { label: string; seconds: number }) =>
    `${label}: refused (429) for ${seconds} s`,
  left: (quota: { label: string; remaining: number; limit: string; window: string }) =>
    `${quota.label}: ${quota.remaining} of ${quota.limit} left${quota.window}`,
  leftUntold: ({ label, limit, window }: { label: string; limit: number; window: string }) =>
    `${label}: ${limit}${window}, does not tell what is left`,
  noLimit: ({ label }: { label: string }) => `${label}: tells no limit`,
  unknownLimit: 'an unknown limit',
  noIssue: ({ provider, reason }: { provider: string; reason: string }) =>
    `${provider} issued no credential: ${reason}`,
  checkProvider: ({ key }: { key: string }) =>
    `check ${key} and what the provider needs on this machine (its role, key or program)`,
  noneAsked: 'none is asked for',
  loginNotAsked: ({ label }: { label: string }) => `${label}: the registry asked for no login`,
  namePrivateImage: 'whether it is taken shows with a private image: name one',
  tokenAccepted: ({ label, host }: { label: string; host: string }) =>
    `${label}: accepted by the token service ${host}`,
  accepted: ({ label, host }: { label: string; host: string }) => `${label}: accepted by ${host}`,
  loginAnswered: ({ label, host, status }: { label: string; host: string; status: number }) =>
    `${label}: ${host} answered ${status}`,
  askOperatorOnly: ({ of }: { of: string }) => `ask the operator of ${of}`,
  set: ({ key }: { key: string }) => `set ${key}`,
  namePublicImage: ({ key }: { key: string }) => `name a public image to try with, or set ${key}`,
  portalForTokens: 'a portal or proxy on the way may answer in place of the token service',
  openTokenService: 'open the way to the token service in the firewall, or try later',
  mayPull: ({ repository }: { repository: string }) => ` and may pull ${repository}`,
  renewCredentials: ({ key, more }: { key: string; more: string }) =>
    `correct or renew ${key}; check that the account is not locked${more}`,
  asAccount: ({ label }: { label: string }) => ` as ${label}`,
  imageMissing: ({ image }: { image: string }) => `${image} does not exist there (404)`,
  checkImageName:
    'check the name and the tag; some registries hide private images from those who may not pull them',
  imageThere: ({ image, digest }: { image: string; digest: string }) =>
    `${image} is there${digest}`,
  giveRight: ({ key, repository }: { key: string; repository: string }) =>
    `give the account in ${key} the right to pull ${repository}, and check the name`,
  setIfPrivate: ({ key, repository }: { key: string; repository: string }) =>
    `check the name, and set ${key} if ${repository} is private`,
  storageElsewhere:
    'the registry keeps its blobs at that host; without it in the list nothing of them is pulled',
  portalForRegistry: 'a portal or proxy on the way may answer in place of the registry',
} as const;
