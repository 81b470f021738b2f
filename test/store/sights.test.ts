import { join } from 'node:path';
import test from 'ava';
import { Sights } from '../../src/store/catalog/sights.ts';
import { Tables } from '../../src/store/catalog/tables.ts';
import { createTempFolder } from '../helpers/mirror.ts';

test('of what left, the first sights of those that left last are known, and no more', async (t) => {
  const path = join(await createTempFolder(t), 'catalog');
  const tables = await Tables.open(path, { durability: 'rename' });
  t.teardown(async () => tables.close());
  const leave = async (...units: string[]): Promise<void> => {
    const sights = units.map((unit) => ({ unit, at: Number(unit.slice(1)) }));
    await tables.write(await new Sights(tables, 4).leave(sights));
  };
  await leave('u1', 'u2');
  await leave('u3');
  await leave('u1');
  await leave('u4');
  const known = async () => (await tables.sights.keys().all()).toSorted();
  t.deepEqual(await known(), ['u1', 'u2', 'u3', 'u4']);
  await leave('u5', 'u6');
  t.deepEqual(await known(), ['u1', 'u4', 'u5', 'u6']);
  t.is(await new Sights(tables, 4).find('u1'), 1);
  t.is((await tables.exits.keys().all()).length, 4);
});
