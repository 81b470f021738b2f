import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { ConfigError } from '../../src/config/problems.ts';
import { describeConfig } from '../../src/config/describe-config.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { SyncConfig } from '../../src/config/sync-schema.ts';
import type { SyncRule } from '../../src/config/sync-rule-schema.ts';
import type { TagSelection } from '../../src/config/tag-selection-schema.ts';
import { formatYaml } from '../../src/config/yaml.ts';
import { createFolder, load, problemsOf } from './config-folder.ts';

const DEFAULTS: SyncConfig = {
  schedule: '0 * * * *',
  windows: [],
  jitterMs: 0,
  concurrency: 4,
  releaseShare: 0.2,
  rules: [],
};
const NO_TAGS: TagSelection = { names: [], globs: [], regexes: [], exclude: [] };
const RULE: SyncRule = {
  path: 'sync.rules[0]',
  image: 'docker.io/library/node',
  tags: { ...NO_TAGS, names: ['latest'] },
  digests: [],
  platforms: 'all',
  referrers: true,
  priority: 0,
  freshMs: 86_400_000,
  removed: 'keep',
};
const DIGEST = `sha256:${'0a'.repeat(32)}`;

/** A folder with files, some of them in folders of it. */
function createTree(t: ExecutionContext, files: Readonly<Record<string, string>>): string {
  const folder = createFolder(t, {});
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

function syncOf(t: ExecutionContext, files: Readonly<Record<string, string>>) {
  return loadConfig({ cwd: createTree(t, files), env: {} }).config.sync;
}

// What is in force

test('without the key, or without a value, nothing is fetched ahead of demand', (t) => {
  t.false('sync' in load(t, { yaml: '' }).config);
  t.false('sync' in load(t, { yaml: 'sync:' }).config);
});

test('an empty map takes every default', (t) => {
  t.deepEqual(load(t, { yaml: 'sync: {}' }).config.sync, DEFAULTS);
});

test('a rule that only names its image wants latest, for every platform', (t) => {
  const yaml = 'sync: { rules: [{ image: docker.io/library/node }] }';
  t.deepEqual(load(t, { yaml }).config.sync, { ...DEFAULTS, rules: [RULE] });
});

const FULL = `
sync:
  schedule: "30 */2 * * *"
  timezone: Europe/Berlin
  windows: [{ opens: "0 22 * * *", for: 8h }, { opens: "0 0 12 * * SAT", for: 90m }]
  bandwidth: 20MiB/s
  jitter: 2m
  concurrency: 2
  releaseShare: 2.5%
  defaults: { platforms: [linux/amd64], referrers: false, priority: 1, fresh: 12h, removed: release }
  rules:
    - image: docker.io/library/node
      tags:
        names: [lts]
        globs: ["22-*"]
        regex: '^(?<version>\\d+\\.\\d+\\.\\d+)-alpine$'
        semver: ">=20 <23"
        newest: { count: 3, by: created }
        exclude: ["*-rc*"]
      digests: ["${DIGEST}"]
    - image: ghcr.io/org/*
      platforms: all
      referrers: true
      priority: -1
      fresh: forever
      removed: keep
`;

test('every key ends up in the configuration, and what a rule says goes before the defaults', (t) => {
  t.deepEqual(load(t, { yaml: FULL }).config.sync, {
    schedule: '30 */2 * * *',
    timezone: 'Europe/Berlin',
    windows: [
      { opens: '0 22 * * *', forMs: 28_800_000 },
      { opens: '0 0 12 * * SAT', forMs: 5_400_000 },
    ],
    bytesPerSecond: 20_971_520,
    jitterMs: 120_000,
    concurrency: 2,
    releaseShare: 0.025,
    rules: [
      {
        path: 'sync.rules[0]',
        image: 'docker.io/library/node',
        tags: {
          names: ['lts'],
          globs: ['22-*'],
          regexes: ['^(?<version>\\d+\\.\\d+\\.\\d+)-alpine$'],
          semver: '>=20 <23',
          newest: { count: 3, by: 'created' },
          exclude: ['*-rc*'],
        },
        digests: [DIGEST],
        platforms: ['linux/amd64'],
        referrers: false,
        priority: 1,
        freshMs: 43_200_000,
        removed: 'release',
      },
      {
        ...RULE,
        path: 'sync.rules[1]',
        image: 'ghcr.io/org/*',
        priority: -1,
        freshMs: Number.POSITIVE_INFINITY,
      },
    ],
  });
});

test('what is in force is told in the words of the file', (t) => {
  const { sync } = describeConfig(load(t, { yaml: FULL }).config);
  t.is(
    formatYaml({ sync }),
    `sync:
  schedule: 30 */2 * * *
  timezone: Europe/Berlin
  windows:
    - opens: 0 22 * * *
      for: 8h
    - opens: 0 0 12 * * SAT
      for: 1h30m
  bandwidth: 20MiB/s
  jitter: 2m
  concurrency: 2
  releaseShare: 2.5%
  rules:
    - from: sync.rules[0]
      image: docker.io/library/node
      tags: { names: [ lts ], globs: [ 22-* ], regex: [ ^(?<version>\\d+\\.\\d+\\.\\d+)-alpine$ ], semver: ">=20 <23", newest: { count: 3, by: created }, exclude: [ "*-rc*" ] }
      digests: [ ${DIGEST} ]
      platforms: [ linux/amd64 ]
      referrers: false
      priority: 1
      fresh: 12h
      removed: release
    - from: sync.rules[1]
      image: ghcr.io/org/*
      tags: { names: [ latest ] }
      digests: []
      platforms: all
      referrers: true
      priority: -1
      fresh: forever
      removed: keep
`,
  );
});

const means = test.macro({
  exec(t: ExecutionContext, tags: string, expected: Partial<TagSelection>) {
    const yaml = `sync: { rules: [{ image: docker.io/library/node, tags: ${tags} }] }`;
    const [rule] = load(t, { yaml }).config.sync?.rules ?? [];
    t.deepEqual(rule?.tags, { ...NO_TAGS, ...expected });
  },
  title: (_, tags) => `tags: ${tags}`,
});

test(means, '~', { names: ['latest'] });
test(means, '{}', { names: ['latest'] });
test(means, '{ names: [], globs: [], regex: [], exclude: [] }', { names: ['latest'] });
test(means, 'v1', { names: ['v1'] });
test(means, '"22"', { names: ['22'] });
test(means, '[v1, v2]', { names: ['v1', 'v2'] });
test(means, '{ regex: [a, b] }', { regexes: ['a', 'b'] });
test(means, '{ newest: 3 }', { newest: { count: 3, by: 'semver' } });
test(means, '{ newest: { count: 3 } }', { newest: { count: 3, by: 'semver' } });
test(means, '{ exclude: ["*-rc*"] }', { exclude: ['*-rc*'] });
test(means, '{ regex: "^(?P<version>[0-9]+)$" }', { regexes: ['^(?P<version>[0-9]+)$'] });
test(means, '{ regex: "^\\\\d+(\\\\.\\\\d+)*(-[a-z]+)?$" }', {
  regexes: ['^\\d+(\\.\\d+)*(-[a-z]+)?$'],
});

test('the short name of an official image is written out', (t) => {
  const yaml = 'sync: { rules: [{ image: docker.io/node }, { image: ghcr.io/node }] }';
  t.deepEqual(
    load(t, { yaml }).config.sync?.rules.map(({ image }) => image),
    ['docker.io/library/node', 'ghcr.io/node'],
  );
});

// Files

test('rules of files are added, each with the defaults of its file, and a file counts once', (t) => {
  const sync = syncOf(t, {
    'entrepot.yaml': `
sync:
  files: [team-a.yaml, "teams/*.yaml", ./teams/b.yaml]
  defaults: { priority: 1, fresh: 1h }
  rules: [{ image: docker.io/library/node }]`,
    'team-a.yaml': 'rules: [{ image: quay.io/a/one }, { image: quay.io/a/two, tags: v2 }]',
    'teams/c.yaml': 'rules: [{ image: quay.io/c/one, fresh: 3h }]',
    'teams/b.yaml': 'defaults: { fresh: 2h, removed: release }\nrules: [{ image: quay.io/b/one }]',
    'teams/empty.yaml': '',
    'teams/readme.txt': 'not read',
  });
  const rule = { ...RULE, priority: 1, freshMs: 3_600_000 };
  t.deepEqual(sync?.rules, [
    rule,
    { ...rule, path: 'team-a.yaml: rules[0]', image: 'quay.io/a/one' },
    {
      ...rule,
      path: 'team-a.yaml: rules[1]',
      image: 'quay.io/a/two',
      tags: { ...NO_TAGS, names: ['v2'] },
    },
    {
      ...rule,
      path: 'teams/b.yaml: rules[0]',
      image: 'quay.io/b/one',
      freshMs: 7_200_000,
      removed: 'release',
    },
    { ...rule, path: 'teams/c.yaml: rules[0]', image: 'quay.io/c/one', freshMs: 10_800_000 },
  ]);
});

test('what is wrong in a file is told with its name, beside what is wrong elsewhere', (t) => {
  const cwd = createTree(t, {
    'entrepot.yaml': `
upstreams: { docker.io: ~ }
sync:
  files: [gone.yaml, "teams/*.yaml", "none/*.yaml", list.yaml, 5]
  rules: [{ image: quay.io/a/b }]`,
    'teams/a.yaml': `
defaults: { fresh: 0s }
rules: [{ image: quay.io/a/b, tag: v1 }, { image: docker.io/a/b, tags: { globs: ["["] } }]`,
    'teams/b.yaml': 'defalts: {}\nschedule: "* * * * *"',
    'teams/c.yaml': 'rules: [',
    'list.yaml': '- image: docker.io/library/node',
  });
  const broken = t.throws(() => loadConfig({ cwd, env: {} }), { instanceOf: ConfigError });
  t.deepEqual(
    broken.problems.map((problem) => problem.replaceAll(cwd, 'DIR')),
    [
      'sync.files[0]: cannot read DIR/gone.yaml: there is no such file',
      'sync.files[1]: teams/c.yaml: line 1, column 9: Flow sequence in block collection must be sufficiently indented and end with a ]',
      'sync.files[2]: no file matches none/*.yaml; add one, or take the entry out',
      'sync.files[3]: list.yaml: write a map of defaults and rules',
      'sync.files[4]: write text; put quotes around it',
      'sync.rules[0].image: quay.io is not under upstreams; add it there, or write one of docker.io',
    ],
  );
  writeFileSync(join(cwd, 'teams/c.yaml'), '');
  const wrong = t.throws(() => loadConfig({ cwd, env: {} }), { instanceOf: ConfigError });
  t.deepEqual(
    wrong.problems.filter((problem) => problem.startsWith('sync.files[1]')),
    [
      'sync.files[1]: teams/a.yaml: defaults.fresh: write more than 0s; no copy is that young',
      'sync.files[1]: teams/a.yaml: rules[0].image: quay.io is not under upstreams; add it there, or write one of docker.io',
      'sync.files[1]: teams/a.yaml: rules[0].tag: unknown key; write tags',
      'sync.files[1]: teams/a.yaml: rules[1].tags.globs[0]: "[" has [ where no name has it; write *, ?, [a-z] or {a,b} for what varies',
      'sync.files[1]: teams/b.yaml: defalts: unknown key; write defaults',
      'sync.files[1]: teams/b.yaml: schedule: unknown key; known here: defaults, rules',
    ],
  );
});

// What is refused

const refuses = test.macro({
  exec: (t: ExecutionContext, keys: string, says: readonly string[]) =>
    t.deepEqual(
      problemsOf(t, { yaml: `upstreams: { docker.io: ~, ghcr.io: ~ }\nsync: { ${keys} }` }),
      says.map((text) => `sync.${text}`),
    ),
  title: (_, keys) => `refused: sync: { ${keys} }`,
});

test(refuses, 'images: [nginx], windows: [{}, 5]', [
  'windows[0].opens: write a cron expression such as "0 22 * * *"',
  'windows[0].for: write a duration such as "5m" or "1h30m"',
  'windows[1]: write a map',
  'images: unknown key; write rules: [{ image: docker.io/library/alpine, tags: [latest] }]',
]);

const CRON = 'write minute, hour, day of month, month and day of week, such as "0 22 * * *"';
test(refuses, 'schedule: "61 * * * *"', [`schedule: ${CRON}; Invalid value for minute: 61`]);
for (const text of ['hourly', '* * *', '* * * * * * 2030', '2030-01-01T00:00:00', '']) {
  test(refuses, `schedule: "${text}"`, [`schedule: ${CRON}, not "${text}"`]);
}
test(refuses, 'schedule: "0 0 30 2 *"', [
  'schedule: "0 0 30 2 *" never comes; write a day that its months have',
]);
test(refuses, 'windows: [{ opens: "0 0 31 4,6 *", for: 1h }, { opens: "0 1 * * *", for: 0s }]', [
  'windows[0].opens: "0 0 31 4,6 *" never comes; write a day that its months have',
  'windows[1].for: write more than 0s; this window never opens',
]);
test(refuses, 'windows: [{ opens: "0 1 * * *", for: 32d }]', [
  'windows[0].for: write at most 31d; leave windows out for at any time',
]);
for (const zone of ['Mars/Olympus', '+02:00', '']) {
  test(refuses, `timezone: "${zone}"`, [
    `timezone: write a time zone such as Europe/Berlin or UTC, not "${zone}"`,
  ]);
}
test(refuses, 'bandwidth: 5, jitter: 25h, concurrency: 0, releaseShare: 0.2', [
  'bandwidth: write a rate such as "20MiB/s"',
  'jitter: write at most 24h',
  'concurrency: write a whole number of 1 or more',
  'releaseShare: write 20%',
]);
test(refuses, 'releaseShare: 101%', [
  'releaseShare: write a share such as 20%, from 0% to 100%, not "101%"',
]);
test(refuses, 'defaults: { image: x, fresh: never, priority: high, removed: no, referrers: 1 }', [
  'defaults.referrers: write true or false',
  'defaults.priority: write a whole number',
  'defaults.fresh: write a duration such as "5m" or "1h30m", not "never"',
  'defaults.removed: write keep or release',
  'defaults.image: unknown key here; write rules: [{ image: … }] under sync',
]);

const image = test.macro({
  exec: (t: ExecutionContext, text: string, says: string) =>
    t.deepEqual(problemsOf(t, { yaml: `sync: { rules: [{ image: ${JSON.stringify(text)} }] }` }), [
      `sync.rules[0].image: ${says}`,
    ]),
  title: (_, text) => `the image ${text} is refused`,
});
const IN_FRONT = 'write docker.io/library/node, the image with its registry';
const LOWER = 'write a repository in lower case, such as docker.io/library/node';
test(image, 'node', IN_FRONT);
test(image, 'library/node', IN_FRONT);
test(image, '*/node', 'write the registry as it is; a rule is for one registry');
test(image, 'docker.io/library/node:22', 'write the tag under tags, and the image without it');
test(
  image,
  `docker.io/library/node@${DIGEST}`,
  'write the digest under digests, and the image without it',
);
test(image, 'index.docker.io/library/node', 'write docker.io/library/node');
test(image, 'ghcr.io/Org/app', 'write ghcr.io/org/app');
test(image, 'ghcr.io/', LOWER);
test(image, 'ghcr.io//app', LOWER);
test(image, 'ghcr.io/org/{a,b', '"org/{a,b" opens { and does not close it; write {a,b}');
test(image, `ghcr.io/${'a'.repeat(250)}`, 'write at most 255 characters');
test(refuses, 'rules: [{}, 5, { image: "reg.example:5000/app" }]', [
  'rules[0].image: write an image with its registry, such as docker.io/library/node',
  'rules[1]: write a map',
  'rules[2].image: reg.example:5000 is not under upstreams; add it there, or write one of docker.io, ghcr.io',
]);

const NODE = 'image: docker.io/library/node';
test(refuses, `rules: [{ ${NODE}, digests: ["sha256:12", "md5:12"] }]`, [
  'rules[0].digests[0]: write a digest such as sha256: and 64 hex digits',
  'rules[0].digests[1]: write a digest such as sha256: and 64 hex digits',
]);
const OS = 'write OS/ARCHITECTURE such as linux/amd64 or linux/arm/v7';
test(refuses, `rules: [{ ${NODE}, platforms: [linux, linux/x86_64, linux/armhf, linux/amd46] }]`, [
  `rules[0].platforms[0]: ${OS}, not "linux"`,
  'rules[0].platforms[1]: write linux/amd64, not "linux/x86_64"',
  'rules[0].platforms[2]: write linux/arm/v7, not "linux/armhf"',
  `rules[0].platforms[3]: ${OS}, not "linux/amd46"`,
]);
const PLATFORMS = 'write all, or a list such as [linux/amd64, linux/arm64]';
test(
  refuses,
  `rules: [{ ${NODE}, platforms: linux/amd64 }, { ${NODE}, platforms: [] }, { ${NODE}, platforms: 5 }]`,
  [
    `rules[0].platforms: ${PLATFORMS}, not "linux/amd64"`,
    `rules[1].platforms: ${PLATFORMS}`,
    `rules[2].platforms: ${PLATFORMS}`,
  ],
);

const tags = test.macro({
  exec: (t: ExecutionContext, text: string, says: readonly string[]) =>
    t.deepEqual(
      problemsOf(t, { yaml: `sync: { rules: [{ ${NODE}, tags: ${text} }] }` }),
      says.map((problem) => `sync.rules[0].tags${problem}`),
    ),
  title: (_, text) => `refused as tags: ${text}`,
});
const TAG = 'a tag has letters, digits, ".", "_" and "-", at most 128 of them';
test(tags, '22', [
  ': write a tag, a list of tags, or a map of names, globs, regex, semver, newest and exclude',
]);
test(tags, '"22-*"', [`: ${TAG}; for a pattern write globs: ["22-*"]`]);
test(tags, '[]', [': an empty list selects nothing; write a tag, or leave the key out for latest']);
test(tags, '["a b", 1.20]', [`[0]: ${TAG}`, '[1]: write text; put quotes around it']);
test(tags, '{ tag: x, names: x }', [
  '.names: write a list: [x]',
  '.tag: unknown key; write names: [latest]',
]);
test(tags, '{ names: [v1, rc-1], exclude: ["rc-*"] }', [
  '.names[1]: exclude has "rc-*", which matches it; take one of the two out',
]);
test(tags, '{ semver: 20 }', ['.semver: write text; put quotes around it']);
for (const range of ['foo', '', '>=20 <']) {
  test(tags, `{ semver: "${range}" }`, [
    `.semver: write a range such as ">=20 <23" or "1.30.x", not "${range}"`,
  ]);
}
test(tags, '{ semver: ">=3 <2" }', [
  '.semver: no version lies in ">=3 <2"; write a range such as ">=20 <23" or "1.30.x"',
]);
const NEWEST = 'write a whole number of 1 or more, or { count: NUMBER, by: semver or created }';
test(tags, '{ newest: 0 }', [`.newest: ${NEWEST}`]);
test(tags, '{ newest: many }', [`.newest: ${NEWEST}`]);
test(tags, '{ newest: { count: 1.5, by: size, of: x } }', [
  `.newest.count: ${NEWEST}`,
  '.newest.by: write semver or created',
  '.newest.of: unknown key; known here: count, by',
]);
const UNUSUAL = 'where no name has it; write *, ?, [a-z] or {a,b} for what varies';
test(tags, '{ globs: ["", "[a", "a}", "a|b", "[z-a]", "!(a)"], exclude: ["{a"] }', [
  '.globs[0]: write a pattern such as "22-*", of at most 255 characters',
  `.globs[1]: "[a" has [ ${UNUSUAL}`,
  `.globs[2]: "a}" has } ${UNUSUAL}`,
  '.globs[3]: "a|b" is a regular expression, and patterns have *, ?, [a-z] and {a,b}; write {a,b}',
  '.globs[4]: "[z-a]" has a range that is none; write one such as [0-9]',
  `.globs[5]: "!(a)" has ! ${UNUSUAL}`,
  '.exclude[0]: "{a" opens { and does not close it; write {a,b}',
]);

const MEANT = 'put quotes around it, and \\ before . + ( [ meant as they are';
test(tags, "{ regex: ['(', '[a', 'a**', '', '(?=a)b', '(?<!a)b', '(a)\\1'] }", [
  `.regex[0]: no regular expression: missing closing ) at \`(\`; ${MEANT}`,
  `.regex[1]: no regular expression: missing closing ] at \`[a\`; ${MEANT}`,
  `.regex[2]: no regular expression: invalid nested repetition operator at \`**\`; ${MEANT}`,
  '.regex[3]: write an expression of 1 to 500 characters',
  '.regex[4]: look-ahead and look-behind are not understood; write what must not match under exclude',
  '.regex[5]: look-ahead and look-behind are not understood; write what must not match under exclude',
  '.regex[6]: back-references are not understood; write the text out',
]);
test(tags, '{ regex: 5 }', ['.regex: write an expression, or a list of them']);
for (const [regex, part] of [
  ['(a+)+$', 'a+'],
  ['^(\\d+\\.?)+$', '\\d+'],
  ['^([a-z]+-?)*$', '[a-z]+'],
  ['(.*)*x', '.*'],
] as const) {
  test(tags, `{ regex: '${regex}' }`, [
    `.regex: catastrophic backtracking: "${part}" and the repetition around it can share a text in very many ways; take one of the two out`,
  ]);
}
test(tags, "{ regex: '^(?:a?b?){150}$' }", [
  '.regex: too large; write fewer or smaller repetitions such as {1,10}',
]);
