import type { ExecutionContext } from 'ava';

/** The tests of a file begin all at once: of two hundred servers each would answer later than its clients wait. */
const AT_ONCE = 24;

const running = new WeakSet<ExecutionContext>();
const waiting: (() => void)[] = [];
let free = AT_ONCE;

/** Resolves when few enough other tests of this process have servers; the test keeps its turn to its end. */
export async function turnOfTest(t: ExecutionContext): Promise<void> {
  if (running.has(t)) return;
  running.add(t);
  if (free > 0) free -= 1;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  t.teardown(() => {
    const next = waiting.shift();
    if (next) next();
    else free += 1;
  });
}
