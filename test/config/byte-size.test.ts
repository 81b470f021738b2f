import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { formatByteSize, parseByteSize } from '../../src/config/quantity.ts';
import { ConfigError } from '../../src/config/problems.ts';

const reads = test.macro({
  exec: (t: ExecutionContext, size: string | number, bytes: number) =>
    t.is(parseByteSize(size), bytes),
  title: (_, size, bytes) => `the size ${JSON.stringify(size)} is ${bytes} bytes`,
});

test(reads, '100GiB', 107_374_182_400);
test(reads, '50MiB', 52_428_800);
test(reads, '1GB', 1_000_000_000);
test(reads, '1.5KiB', 1536);
test(reads, '2 TiB', 2_199_023_255_552);
test(reads, '1PiB', 1_125_899_906_842_624);
test(reads, '1PB', 1_000_000_000_000_000);
test(reads, '1TB', 1_000_000_000_000);
test(reads, '5MB', 5_000_000);
test(reads, '7kB', 7000);
test(reads, '7KB', 7000);
test(reads, '12B', 12);
test(reads, '12', 12);
test(reads, 12, 12);
test(reads, 0, 0);

const refuses = test.macro({
  exec(t: ExecutionContext, size: string | number) {
    const error = t.throws(() => parseByteSize(size), { instanceOf: ConfigError });
    t.deepEqual(error.problems, [`write a size such as "100GiB" or "50MB", not "${size}"`]);
  },
  title: (_, size) => `the ${typeof size} "${size}" is no size`,
});

for (const size of ['', 'GiB', '-1', '1e9', '1 000', '9999PiB', ' 1B', '1B ']) {
  test(refuses, size);
}
test(refuses, -1);
test(refuses, Number.POSITIVE_INFINITY);
test(refuses, Number.NaN);

test('a formatted size reads as the same number of bytes', (t) => {
  const amounts = fc.nat({ max: 2 ** 20 });
  const units = fc.constantFrom(1, 2 ** 20, 2 ** 30, 10 ** 9);
  fc.assert(
    fc.property(amounts, units, (amount, unit) => {
      return parseByteSize(formatByteSize(amount * unit)) === amount * unit;
    }),
  );
  t.is(formatByteSize(107_374_182_400), '100GiB');
  t.is(formatByteSize(1_000_000_000), '1GB');
  t.is(formatByteSize(1537), '1537B');
  t.is(formatByteSize(0), '0B');
});
