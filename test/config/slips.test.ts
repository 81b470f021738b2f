import test from 'ava';
import { FOREIGN_KEYS } from '../../src/config/foreign-keys.ts';
import { configSchema } from '../../src/config/schema.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import { load, problemsOf } from './config-folder.ts';
import { NO_SLIPS, SLIPS } from './slips.ts';

for (const [yaml, path, right] of SLIPS) {
  test(`${yaml} is refused with ${right}`, (t) => {
    const problems = problemsOf(t, { yaml });
    const found = problems.filter((problem) => problem.startsWith(`${path}: `));
    t.true(
      found.some((problem) => problem.slice(path.length).includes(right)),
      problems.join('\n'),
    );
  });
}

test('no slip makes a secret that stands in the wrong place be repeated', (t) => {
  for (const [yaml] of SLIPS.filter(([text]) => /hunter2|aHVudGVyMg/.test(text))) {
    t.notRegex(problemsOf(t, { yaml }).join('\n'), /hunter2|aHVudGVyMg/);
  }
});

test('what a row says of a key of another program are keys that the schema knows', (t) => {
  for (const { at, write } of FOREIGN_KEYS) {
    if (write === undefined) continue;
    const place = at === '' ? [] : at.split('.').map((key) => (key === '*' ? 'docker.io' : key));
    const inner = parseYaml(`{ ${write.replaceAll(/<(.*)>/g, '$1')} }`);
    const document = place.reduceRight<unknown>(
      (below, key) => (key === '[]' ? [below] : { [key]: below }),
      inner,
    );
    const { error } = configSchema({ directory: '.', env: {} }).safeParse(document);
    const unknown = error?.issues.filter(({ code }) => code === 'unrecognized_keys') ?? [];
    t.deepEqual(unknown, [], write);
  }
});

test('what only looks like a slip is taken as it is', (t) => {
  const { config } = load(t, { yaml: NO_SLIPS });
  t.deepEqual(config.store.pins, [
    'docker.io/library/nginx:1',
    'docker.io/library/nginx:1.*',
    '*/org/app@sha256:*',
    '**:stable',
    'reg.example:5000/a:B',
  ]);
});
