import { ADMISSION_TEXTS } from './admission-texts.ts';

/** What operators read of a configuration: what is wrong with it, and what to write instead. */
export const TEXTS = {
  // Values of any key
  asBoolean: 'write true or false',
  asText: 'write text',
  asNumber: 'write a number',
  asWholeNumber: 'write a whole number',
  asCount: 'write a whole number of 1 or more',
  ranges: 'write auto, whole or sparse',
  segments: 'write auto, or a whole number from 1 to 16',
  asList: 'write a list',
  asMap: 'write a map',
  mapWith: ({ key, value }: { key: string; value: string }) => `write { ${key}: ${value} }`,
  listOf: ({ value }: { value: string }) => `write a list: [${value}]`,
  variable: ({ name }: { name: string }) =>
    `nothing is put in place of \${${name}}; write the value itself (a secret alone may be { env: ${name} })`,
  missing: ({ advice }: { advice: string }) => `missing; ${advice}`,
  needsQuotes: ({ advice }: { advice: string }) => `${advice}; put quotes around it`,
  notThis: ({ advice, text }: { advice: string; text: string }) => `${advice}, not "${text}"`,
  unknownKeyWrite: ({ right }: { right: string }) => `unknown key; write ${right}`,
  unknownKeyUnder: ({ right, above }: { right: string; above: string }) =>
    `unknown key here; write ${right} under ${above}`,
  unknownKeyAtTop: ({ right }: { right: string }) =>
    `unknown key here; write ${right} at the top of the file`,
  noLogKeys:
    'unknown key; leave it out: lines are for people on a terminal and JSON elsewhere, on standard output',
  leaveOut: 'unknown key; leave it out',
  unknownKey: ({ keys }: { keys: string }) => `unknown key; known here: ${keys}`,
  atMost: ({ limit }: { limit: string }) => `write at most ${limit}`,
  tooLong: ({ most }: { most: number }) => `write at most ${most} characters`,
  writeName: ({ name }: { name: string }) => `write ${name}`,
  root: 'write keys with their values, such as "offline: false"',

  hostEntry:
    'write a host, *.host for all below it, an address, or a range of addresses such as 10.0.0.0/8, each with a port or without',

  // Sizes, times and rates
  size: 'write a size such as "100GiB" or "50MB"',
  sizeBare: ({ text, right }: { text: string; right: string }) =>
    `${text} without a unit is bytes; write ${right}, or ${text}B if so few are meant`,
  sizeAboveZero: 'write more than 0; the store needs room',
  rate: 'write a rate such as "50MiB/s"',
  syncRate: 'write a rate such as "20MiB/s"',
  rateAboveZero: 'write more than 0; leave the key out for no limit',
  duration: 'write a duration such as "5m" or "1h30m"',
  durationOrForever: 'write a duration such as "5m" or "1h30m", or forever',
  share: 'write a share such as 20%, from 0% to 100%',
  shareAboveZero: 'write more than 0%; the store would keep nothing',
  cron: 'write a cron expression such as "0 22 * * *"',
  cronForm: 'write minute, hour, day of month, month and day of week, such as "0 22 * * *"',
  cronFault: ({ advice, fault }: { advice: string; fault: string }) => `${advice}; ${fault}`,
  cronNever: ({ text }: { text: string }) =>
    `"${text}" never comes; write a day that its months have`,
  timeZone: 'write a time zone such as Europe/Berlin or UTC',

  // Access
  accessService: 'write a name of letters, digits, ".", "_" and "-"',
  accessTtl: 'write a duration from 1m to 1h',
  accessWho:
    'write a list of anonymous, user:NAME, group:NAME, token:NAME, k8s:CLUSTER:NAMESPACE:ACCOUNT, cert:NAME or oidc:ISSUER:NAME',
  accessWhoEach:
    'write anonymous, user:NAME, group:NAME, token:NAME, k8s:CLUSTER:NAMESPACE:ACCOUNT, cert:NAME or oidc:ISSUER:NAME',
  accessFromEach: 'write an address or a range such as 10.0.0.0/8',
  accessMayEach: 'write pull, list, metrics, view, operate or admin',
  accessMayPush:
    'a mirror takes no images from clients; write pull, list, metrics, view, operate or admin, or take it out',
  accessNoDeny:
    'unknown key; leave it out: rules only give, and what none gives is refused; narrow the rule that gives too much',
  accessFrom: 'write a list of addresses and ranges such as 10.0.0.0/8',
  accessMay: 'write a list of pull, list, metrics, view, operate and admin',
  accessImages: 'write a list of repositories with their registry, such as ghcr.io/org/**',
  ...ADMISSION_TEXTS,
  certificatesNeedTls:
    'clients show certificates in TLS alone; write listen: { address: …, tls: { cert: PATH, key: PATH } }',
  accessNoImages: 'leave it out: roles of the admin door are not about images',
  accessNoKind: ({ key }: { key: string }) =>
    `it names nobody, for there is no access.${key}; set that, or take it out`,
  accessNoUser: ({ path }: { path: string }) =>
    `it names nobody: ${path} has no such user; add one, or take it out`,
  accessNoGroups:
    'it names nobody, for nothing tells the groups of who asks; set groups of access.oidc, or take it out',
  accessNoIssuer: ({ key, names }: { key: string; names: string }) =>
    `it names nobody, for access.${key} has no such name; write one of ${names}`,
  accessWhoForm: ({ form }: { form: string }) => `it names nobody; write ${form}`,
  accessImageTag: ({ right }: { right: string }) =>
    `it matches no repository, and rules are about these, whatever the tag; write ${right}`,
  accessImageMeant: ({ right }: { right: string }) =>
    `it matches no repository: each has its registry in front; write ${right}`,
  accessImageCase: ({ right }: { right: string }) =>
    `it matches no repository: names are lower case; write ${right}`,
  accessImageRegistry: ({ right }: { right: string }) =>
    `it matches no repository: it is a registry; write ${right} for all of it`,
  accessImageNever:
    'it matches no repository: write one with its registry, in lower case, such as ghcr.io/org/**',
  accessCovered: ({ earlier }: { earlier: number }) =>
    `it gives nothing that access.rules[${earlier}] does not give; take it out, or narrow that one`,
  accessFromLocal: ({ key }: { key: string }) =>
    `it never counts: ${key} is reached from this machine alone; name the proxy in front in trustProxy, or listen on a network`,
  accessFromProxies: ({ range }: { range: string }) =>
    `whoever asks from ${range} is believed any address, for trustProxy has it; name the proxies alone there`,
  accessShut: 'no rule can give anything to anybody, so that all is refused; write one that does',
  accessPlain:
    'passwords and tokens reach it unencrypted; set tls, or name the proxy in front that has it in trustProxy',
  accessPlainAdmin: 'passwords and tokens reach it unencrypted; set tls',
  accessNoRoles:
    'it is on a network, and no rule gives anybody a role there; write one, such as may: [view], or 127.0.0.1',
  accessMetricsOpen:
    'it asks for no role: whoever reaches it reads the metrics, whatever access.rules say',
  accessDocker:
    'Docker asks Docker Hub itself for what is refused here, for its registry-mirrors is advisory; "entrepot clients docker" tells how to pull by the name of the mirror',
  fileOpen: ({ path }: { path: string }) =>
    `every user of this machine may read it; take that away: chmod o-r ${path}`,
  htpasswdUser: ({ path, line }: { path: string; line: number }) =>
    `${path}, line ${line}: write user:hash, as "htpasswd -B" does`,
  htpasswdHash: ({ path, line, user }: { path: string; line: number; user: string }) =>
    `${path}, line ${line}: the hash of ${user} is not bcrypt; write it anew with "htpasswd -B ${path} ${user}"`,
  htpasswdCost: (where: { path: string; line: number; user: string; most: number }) =>
    `${where.path}, line ${where.line}: the hash of ${where.user} costs more than ${where.most}; write it anew with "htpasswd -B -C ${where.most} ${where.path} ${where.user}"`,
  htpasswdUsers: ({ path, most }: { path: string; most: number }) =>
    `${path} has more than ${most} users`,
  issuerName: 'write a name of letters, digits, ".", "_" and "-", such as corp',
  issuerText: 'write it as it stands in the tokens, without spaces',
  issuerClaim: 'write the name of a claim, such as sub or groups',
  issuerTwice: ({ name }: { name: string }) => `write another name; there is one called ${name}`,
  issuerShared: 'another issuer has it; only clusters may share one',
  kidTwice: ({ name, kid }: { name: string; kid: string }) =>
    `the key ${JSON.stringify(kid.slice(0, 80))} is also one of ${name}, so that its tokens could be of either cluster`,
  jwksForms: 'write { file: PATH } or { url: URL, ca: PATH, token: … }',
  jwksUrl:
    'write an https URL; http only of this machine, such as http://127.0.0.1:8001/openid/v1/jwks',
  notJwks: ({ source, most }: { source: string; most: number }) =>
    `${source} is no JWKS of at most ${most} keys: { "keys": [...] }`,
  emptyJwks: ({ source }: { source: string }) =>
    `${source} has no public key with a kid that could verify a signature`,
  privateJwks: ({ source }: { source: string }) =>
    `${source} holds a secret key; only public ones belong there`,

  // Bundles
  bundleKey: 'write { file: courier.pub, may: [images] }',
  bundleKeyName: 'write a name of letters, digits, ".", "_" and "-", such as courier',
  bundleMay: 'write a list of images and trust, such as [images]',
  notBundleKey: ({ path }: { path: string }) =>
    `${path} holds no public key of Ed25519 or P-256; write the file that ends in .pub of "entrepot bundle keygen"`,

  // Files, secrets and certificates
  unreadable: ({ path, reason }: { path: string; reason: string }) =>
    `cannot read ${path}: ${reason}`,
  noSuchFile: 'there is no such file',
  unusable: ({ path }: { path: string }) => `${path} is no plain file of at most 1 MiB`,
  permissionDenied: 'permission denied',
  isFolder: 'it is a folder',
  notUtf8: ({ path }: { path: string }) => `${path} is not UTF-8 text`,
  yamlFault: ({ line, column, fault }: { line: number; column: number; fault: string }) =>
    `line ${line}, column ${column}: ${fault}`,
  yamlAlias: 'Unknown alias',
  secretInFile: 'a secret does not stand in this file; write { file: PATH } or { env: VARIABLE }',
  secretMissing: 'missing; write { file: PATH } or { env: VARIABLE }',
  secretOfVariable: ({ name }: { name: string }) =>
    `nothing is put in place of variables; write { env: ${name} }`,
  secretTwice: 'write { file: PATH } or { env: VARIABLE }, one of the two',
  secretFileEmpty: ({ path }: { path: string }) => `${path} is empty; the secret belongs there`,
  variableNotSet: ({ name }: { name: string }) => `the environment variable ${name} is not set`,
  variableEmpty: ({ name }: { name: string }) => `the environment variable ${name} is empty`,
  pemPath: 'write the path of a PEM file',
  pemContents: 'write the path of a PEM file, not what is in it',
  notPem: ({ path }: { path: string }) => `${path} is not a PEM file`,
  notCertificates: ({ path }: { path: string }) =>
    `${path} holds no certificate, or one that is not whole`,
  noRoot: ({ path }: { path: string }) =>
    `${path} holds no root: add the certificate that signs itself`,
  keyOfOther: 'the key does not belong to the certificate',
  keyPairUnusable: ({ code }: { code: string }) => `TLS cannot use cert and key (${code})`,
  onlyWithoutCa: 'only counts those of ca alone; write ca: PATH, or leave only out',
  keyPairHalf: 'cert and key belong together; write both or neither',

  // listen, admin and store
  address: 'write an address and a port such as "0.0.0.0:5000" or "[::]:5000"',
  addressOrMap:
    'write an address and a port such as "0.0.0.0:5000", or { address: …, tls: { cert: PATH, key: PATH } }',
  portTaken: ({ door, port }: { door: string; port: number }) =>
    `${door} has port ${port} already; write another one`,
  adminOpen: ({ address }: { address: string }) =>
    `whoever reaches ${address} may read, pin and remove everything; write 127.0.0.1, or { address: "${address}", open: true } if that is meant (admin.open)`,
  folder: 'write the path of a folder',
  file: 'write the path of a file',
  proxies: 'write a list of the addresses and ranges of the proxies in front, such as [10.0.0.0/8]',

  // log and tracing
  logLevel: ({ levels }: { levels: string }) => `write one of ${levels}`,
  access: 'write true, false, or a share of the requests such as 10%',
  otlp: 'write the URL of a collector, such as http://collector:4318/v1/traces',
  otlpGrpc: ({ url }: { url: string }) =>
    `4317 is the port for gRPC; write ${url}, which takes OTLP over HTTP`,
  otlpWithSecret:
    'write the URL without a user, a password and a query; what the collector wants to know stands in OTEL_EXPORTER_OTLP_HEADERS of the environment',
  durability: 'write full or rename',
  imageMeant: ({ image }: { image: string }) => `write ${image}, the image with its registry`,
  pin: 'write an image with its registry, such as "docker.io/library/nginx:1.27"',

  // upstreams
  upstreams: 'write a map of registries; leave the key out for the well-known public ones',
  upstreamsMap: ({ entries }: { entries: string }) => `write a map: { ${entries} }`,
  registryName: "a registry's name is its host and port, such as reg.example:5000",
  registryNamed: ({ name }: { name: string }) => `write ${name}, the name of this registry`,
  noUpstream: ({ name, remedy }: { name: string; remedy: string }) =>
    `${name} is not under upstreams; ${remedy}`,
  itsDefault: ({ name }: { name: string }) => `${name}, its default,`,
  addOne: 'add one there',
  oneOf: ({ names }: { names: string }) => `write one of ${names}`,
  didYouMean: ({ right }: { right: string }) => `did you mean ${right}?`,
  addOrOneOf: ({ names }: { names: string }) => `add it there, or write one of ${names}`,
  host: 'write a host in lower case, and a port if it has one',
  hostTaken: ({ host, owner }: { host: string; owner: string }) =>
    `${host} is a host of ${owner} already`,
  repositoryGlob: 'write a pattern such as "library/*" or "myorg/**"',
  patternOfRepository: ({ right }: { right: string }) =>
    `it matches no repository of this registry; write ${right}`,
  allowNothing: 'an empty list would allow nothing; leave the key out to allow everything',
  tagGlob: 'write REPOSITORY:TAG, where both may be patterns, such as "*:v[0-9]*"',
  revalidateAtOnce:
    'write more than 0s; staleWhileRevalidate: forever answers at once and asks upstream behind it',
  url: 'write a URL that begins with https:// or http://',
  urlScheme: ({ host }: { host: string }) => `write https://${host} or http://${host}`,
  urlOfRegistry: ({ name, url }: { name: string; url: string }) =>
    `${name} does not answer there; write ${url}, or leave the key out`,
  urlWithPassword:
    'take the user and the password out of the URL and write credentials: { username: NAME, password: { file: PATH } }',
  urlWithV2:
    'write the URL without /v2 at its end, which is added to every request; for a mirror of several registries write https://HOST/v2/PREFIX or https://HOST/?ns=REGISTRY',
  urlWithQuery:
    'write the URL without a query and without a fragment; for a mirror of several registries write https://HOST/v2/PREFIX or https://HOST/?ns=REGISTRY',
  urlPrefix:
    'behind /v2/ write what repositories there begin with, such as docker.io or a project, in lower case; a port is written as in reg.example_5000',
  urlNamespace: 'behind ns= write the name of a registry, such as docker.io',
  urlPrefixAndNamespace: 'a prefix behind /v2/ and ns say the same; write one of the two',
  proxy: 'write the proxy as http://HOST:PORT or https://HOST:PORT',
  proxyWithPassword:
    "a proxy's password does not stand in this file; leave the key out and set HTTPS_PROXY in the environment",
  proxyVariable: ({ name }: { name: string }) =>
    `the environment variable ${name} is not the URL of an http proxy`,
  insecure: 'the certificate of this upstream is not checked',
  unencrypted: 'they go over the network unencrypted; use https',

  // credentials
  credentialForms:
    'write { username: NAME, password: { file: PATH } }, { identityToken: { file: PATH } }, { token: { file: PATH } } or { provider: NAME }',
  credentialMixed:
    'write username and password, or identityToken, or token, not several of them; a second account is a second entry of a list',
  credentialsEmpty: 'an empty list names no account; leave the key out to pull without one',
  provider: ({ names }: { names: string }) =>
    `write one of ${names}; a username and a password need no provider`,
  username: 'write the name of the account',
  bearer: 'a bearer token has no spaces and no line ends; keep nothing beside it',
  region: 'write a region such as "eu-central-1"',
  regionMissing: 'missing; the host does not tell it, write region: REGION',
  profile: "write the name of a profile of AWS's own configuration files",
  serviceAccount:
    'this is not the JSON key of a service account, which has client_email and private_key; leave key out for the default credentials',
  id: ({ of }: { of: string }) => `write the ID of the ${of}`,
  principal: ({ key }: { key: string }) =>
    `missing; a secret belongs to a tenant and a client, write the ID of the ${key}`,
  helper: 'write what follows docker-credential- in the name of the program, such as "pass"',
  server: 'write the registry as it was logged in to, such as reg.example:5000',
  dockerConfig: 'write the path of a config.json or auth.json',
  notDockerConfig: ({ path }: { path: string }) =>
    `${path} is not JSON as docker login or podman login writes it`,

  // sync
  syncFile: 'write a map of defaults and rules',
  noFileMatches: ({ pattern }: { pattern: string }) =>
    `no file matches ${pattern}; add one, or take the entry out`,
  windowNeverOpens: 'write more than 0s; this window never opens',
  windowAtMost: '31d; leave windows out for at any time',
  image: 'write an image with its registry, such as docker.io/library/node',
  imageWithDigest: 'write the digest under digests, and the image without it',
  imageWithTag: 'write the tag under tags, and the image without it',
  imageRepository: 'write a repository in lower case, such as docker.io/library/node',
  imageRegistryGlob: 'write the registry as it is; a rule is for one registry',
  digest: 'write a digest such as sha256: and 64 hex digits',
  platforms: 'write all, or a list such as [linux/amd64, linux/arm64]',
  platform: 'write OS/ARCHITECTURE such as linux/amd64 or linux/arm/v7',
  freshAboveZero: 'write more than 0s; no copy is that young',
  removed: 'write keep or release',
  tags: 'write a tag, a list of tags, or a map of names, globs, regex, semver, newest and exclude',
  tagsEmpty: 'an empty list selects nothing; write a tag, or leave the key out for latest',
  tag: 'a tag has letters, digits, ".", "_" and "-", at most 128 of them',
  tagIsRegex: ({ advice, text }: { advice: string; text: string }) =>
    `${advice}; for an expression write regex: ['${text}']`,
  tagIsGlob: ({ advice, text }: { advice: string; text: string }) =>
    `${advice}; for a pattern write globs: ["${text}"]`,
  excluded: ({ pattern }: { pattern: string }) =>
    `exclude has "${pattern}", which matches it; take one of the two out`,
  newest: 'write a whole number of 1 or more, or { count: NUMBER, by: semver or created }',
  newestBy: 'write semver or created',
  range: 'write a range such as ">=20 <23" or "1.30.x"',
  rangeEmpty: ({ text, advice }: { text: string; advice: string }) =>
    `no version lies in "${text}"; ${advice}`,

  // Patterns
  glob: ({ most }: { most: number }) =>
    `write a pattern such as "22-*", of at most ${most} characters`,
  globRange: ({ glob }: { glob: string }) =>
    `"${glob}" has a range that is none; write one such as [0-9]`,
  globOpen: ({ glob }: { glob: string }) => `"${glob}" opens { and does not close it; write {a,b}`,
  globUnusual: ({ glob, character }: { glob: string; character: string }) =>
    `"${glob}" has ${character} where no name has it; write *, ?, [a-z] or {a,b} for what varies`,
  globOfRegex: ({ glob, right }: { glob: string; right: string }) =>
    `"${glob}" is a regular expression, and patterns have *, ?, [a-z] and {a,b}; write ${right}`,
  regexes: 'write an expression, or a list of them',
  regexLength: ({ most }: { most: number }) => `write an expression of 1 to ${most} characters`,
  regexTooLarge: 'too large; write fewer or smaller repetitions such as {1,10}',
  regexCatastrophic: ({ part }: { part: string }) =>
    `catastrophic backtracking: "${part}" and the repetition around it can share a text in very many ways; take one of the two out`,
  regexLookAround:
    'look-ahead and look-behind are not understood; write what must not match under exclude',
  regexBackReference: 'back-references are not understood; write the text out',
  regexFault: ({ fault }: { fault: string }) =>
    `no regular expression: ${fault}; put quotes around it, and \\ before . + ( [ meant as they are`,
} as const;
