import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import picomatch from 'picomatch';
import { parseGlob } from '../../src/config/parse-glob.ts';

const matches = test.macro({
  exec(t: ExecutionContext, glob: string, yes: readonly string[], no: readonly string[]) {
    const pattern = parseGlob(glob);
    t.deepEqual(
      [...yes, ...no].filter((text) => pattern.matches(text)),
      yes,
    );
  },
  title: (_, glob) => `the pattern ${glob}`,
});

test(matches, '*', ['a', '22-alpine', '.a', '_x'], ['a/b']);
test(matches, '22-*', ['22-alpine', '22-'], ['22', '122-alpine', '22.1-alpine']);
test(matches, '1.2?', ['1.25'], ['1.2', '1.2.5', '1x25', '1.2/']);
test(matches, 'org/**', ['org/a', 'org/a/b'], ['org', 'other/org/a']);
test(matches, 'org/*', ['org/a'], ['org/a/b']);
test(matches, 'v[0-9]*', ['v1', 'v1.2'], ['v', 'vx']);
test(matches, 'a[!b-d]', ['aa', 'ae'], ['ab', 'ad', 'a', 'a/']);
test(matches, 'a[^b-d]', ['aa', 'ae'], ['ab', 'a/']);
test(matches, 'a[.^-]', ['a.', 'a^', 'a-'], ['ax']);
test(matches, '{3,3.*}-{alpine,slim}', ['3-slim', '3.1-alpine'], ['3-', '31-slim', '3.1']);
test(matches, '{a,{b,c}x}', ['a', 'bx', 'cx'], ['b', 'ax']);
test(matches, 'sha256-a.sig', ['sha256-a.sig'], ['sha256-axsig']);

test('simple patterns mean what they mean elsewhere', (t) => {
  const part = fc.constantFrom('a', 'b', '1', '.', '-', '_', '*', '?', '[ab]', '[^a]', '{a,b1}');
  const glob = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''));
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '1', '.', '-', '_'), minLength: 1 });
  fc.assert(
    fc.property(
      glob.filter((pattern) => !/\*\*|\.\./.test(pattern)),
      text.filter((tag) => !/^\.\.?$/.test(tag)),
      (pattern, tag) => {
        const elsewhere = picomatch(pattern, { dot: true, strictSlashes: true });
        t.is(parseGlob(pattern).matches(tag), elsewhere(tag), `${pattern} ${tag}`);
      },
    ),
    { numRuns: 2000 },
  );
});
