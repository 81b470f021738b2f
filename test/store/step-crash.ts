/** Does one thing with a store and kills itself at a step: `step-crash.ts WHAT PATH STEP [COUNT]`. */
import { digestOf } from '../../src/oci/digest.ts';
import { parseTag } from '../../src/oci/reference.ts';
import type { JournalEntry } from '../../src/store/catalog/catalog.ts';
import { Journal } from '../../src/store/journal/journal.ts';
import { Store } from '../../src/store/store.ts';

const [what = '', path = '', last = '', count = '1'] = process.argv.slice(2);

let left = Number(count);
function step(name: string): void {
  if (name !== last) return;
  left -= 1;
  if (left === 0) process.kill(process.pid, 'SIGKILL');
}

async function* liveEntries(): AsyncGenerator<JournalEntry> {
  const is = digestOf(Buffer.from('live'));
  yield { tag: parseTag('t-live'), of: 'registry.example/app', is, at: 1000 };
}

if (what === 'compact') {
  const journal = await Journal.open(path, { step });
  await journal.compact(liveEntries());
} else {
  await Store.rebuild({ path, durability: 'full', step });
}
