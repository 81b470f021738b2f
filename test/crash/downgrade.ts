import { join } from 'node:path';
import { Level } from 'level';

/** Makes of a closed store's catalog what version 1 would have written. */
export async function downgrade(storePath: string): Promise<void> {
  const db = new Level<string, unknown>(join(storePath, 'catalog'), { valueEncoding: 'json' });
  const table = (name: string) => db.sublevel<string, unknown>(name, { valueEncoding: 'json' });
  await db.open();
  const turned = (key: string, parts: number): string => {
    const [digest = '', target = ''] = key.split(' ', parts);
    return `${target} ${digest}`;
  };
  for (const link of await table('links').keys().all()) {
    await table('proofs').put(turned(link, 2), 1);
  }
  for (const holder of await table('holders').keys().all()) {
    await table('claims').put(turned(holder, 3), 1);
  }
  for (const name of ['members', 'names', 'links', 'holders', 'access', 'recency']) {
    await table(name).clear();
  }
  await table('meta').put('schema', 1);
  await db.close();
}
