import test from 'ava';
import * as fc from 'fast-check';
import { parseChallenges } from '../../src/upstream/challenge.ts';

interface Case {
  readonly claim: string;
  readonly header: string | string[] | undefined;
  readonly challenges: [scheme: string, parameters: Record<string, string>][];
}

const CASES: Case[] = [
  { claim: 'no header is no challenge', header: undefined, challenges: [] },
  { claim: 'an empty header is no challenge', header: '', challenges: [] },
  {
    claim: 'Docker Hub',
    header:
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull"',
    challenges: [
      [
        'bearer',
        {
          realm: 'https://auth.docker.io/token',
          service: 'registry.docker.io',
          scope: 'repository:library/nginx:pull',
        },
      ],
    ],
  },
  {
    claim: 'ECR: Basic with a service',
    header: 'Basic realm="https://1.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com"',
    challenges: [
      [
        'basic',
        { realm: 'https://1.dkr.ecr.eu-west-1.amazonaws.com/', service: 'ecr.amazonaws.com' },
      ],
    ],
  },
  {
    claim: 'a quoted scope may hold commas and spaces',
    header: 'Bearer realm="https://r.example/t",scope="repository:a:pull,push repository:b:pull"',
    challenges: [
      [
        'bearer',
        { realm: 'https://r.example/t', scope: 'repository:a:pull,push repository:b:pull' },
      ],
    ],
  },
  {
    claim: 'bare values, also a realm with colons and slashes',
    header: 'Bearer realm=https://r.example/t?a=b,service=r.example',
    challenges: [['bearer', { realm: 'https://r.example/t?a=b', service: 'r.example' }]],
  },
  {
    claim: 'space around commas and equals signs',
    header: 'Bearer  realm = "https://r.example/t" , service = "r.example" ,, ',
    challenges: [['bearer', { realm: 'https://r.example/t', service: 'r.example' }]],
  },
  {
    claim: 'names of schemes and parameters in any case',
    header: 'BEARER Realm="https://r.example/t",SERVICE="X"',
    challenges: [['bearer', { realm: 'https://r.example/t', service: 'X' }]],
  },
  {
    claim: 'escaped quotes and backslashes',
    header: String.raw`Basic realm="a \"quoted\" \\ realm"`,
    challenges: [['basic', { realm: String.raw`a "quoted" \ realm` }]],
  },
  {
    claim: 'several challenges in one line',
    header: 'Negotiate, Basic realm="a", Bearer realm="https://r.example/t",service="s"',
    challenges: [
      ['negotiate', {}],
      ['basic', { realm: 'a' }],
      ['bearer', { realm: 'https://r.example/t', service: 's' }],
    ],
  },
  {
    claim: 'several lines',
    header: ['Basic realm="a"', 'Bearer realm="https://r.example/t"'],
    challenges: [
      ['basic', { realm: 'a' }],
      ['bearer', { realm: 'https://r.example/t' }],
    ],
  },
  {
    claim: 'of a repeated parameter the first counts',
    header: 'Bearer realm="https://r.example/t",realm="https://evil.example/t"',
    challenges: [['bearer', { realm: 'https://r.example/t' }]],
  },
  {
    claim: 'an empty value is a value',
    header: 'Bearer realm="",service=""',
    challenges: [['bearer', { realm: '', service: '' }]],
  },
  {
    claim: 'parameters without a scheme belong to nobody',
    header: 'realm="https://r.example/t"',
    challenges: [],
  },
  {
    claim: 'a parameter named like an inherited property is one of its own',
    header: 'Bearer __proto__="x",constructor="y"',
    challenges: [
      [
        'bearer',
        Object.fromEntries([
          ['__proto__', 'x'],
          ['constructor', 'y'],
        ]),
      ],
    ],
  },
];

for (const { claim, header, challenges } of CASES) {
  test(claim, (t) => {
    const found = parseChallenges(header).map(({ scheme, parameters }) => [
      scheme,
      Object.fromEntries(Object.entries(parameters)),
    ]);
    t.deepEqual(found, challenges);
  });
}

test('a parameter that was not sent is not there, whatever its name', (t) => {
  const [challenge] = parseChallenges('Bearer realm="x"');
  for (const name of ['scope', 'constructor', 'toString', '__proto__']) {
    t.is(challenge?.parameters[name], undefined, name);
  }
});

test('a quote that is never closed gives no value', (t) => {
  const [challenge] = parseChallenges('Bearer realm="https://r.example/t');
  t.is(challenge?.scheme, 'bearer');
  t.is(challenge?.parameters['realm'], undefined);
});

test('every challenge that is written is read back, however it is spaced', (t) => {
  const token = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}$/);
  const value = fc.stringMatching(/^[\x20-\x7e]{0,40}$/);
  const challenge = fc.tuple(
    token,
    fc.uniqueArray(fc.tuple(token, value), { selector: ([name]) => name, maxLength: 4 }),
  );
  const comma = fc.constantFrom(',', ', ', ' , ', ',,', ',\t');
  fc.assert(
    fc.property(fc.array(challenge, { maxLength: 4 }), comma, (challenges, separator) => {
      const line = challenges
        .map(([scheme, parameters]) => {
          const pairs = parameters.map(
            ([name, text]) => `${name}="${text.replaceAll(/["\\]/g, '\\$&')}"`,
          );
          return [scheme, pairs.join(separator)].join(' ').trimEnd();
        })
        .join(separator);
      const read = parseChallenges(line).map(({ scheme, parameters }) => [
        scheme,
        Object.entries(parameters),
      ]);
      t.deepEqual(read, challenges);
    }),
  );
});

test('no header makes it throw or run on', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (header) => {
      t.true(Array.isArray(parseChallenges(header)));
    }),
  );
  for (const piece of ['"', '\\"', '=', ',', ' ', 'a="', 'a=b,', '"\\']) {
    t.true(Array.isArray(parseChallenges(`Bearer a=${piece.repeat(20_000)}`)));
  }
});
