/** What every catalog promises to who judges manifests. */
import test, { type ExecutionContext } from 'ava';
import { parseTag, type Target } from '../../src/oci/reference.ts';
import { unitOf, type Catalog } from '../../src/store/catalog/catalog.ts';
import { digest, entry, targetOf, type OpenCatalog } from './catalog-contract.ts';

const APP = targetOf('app');
const OTHER = targetOf('other');
const V1 = parseTag('v1');

const seen = async ({ admission }: Catalog, seed: string | number, target: Target = APP) =>
  admission.firstSight(target, digest(seed));

/** Declares a test for each promise. `create` makes a new catalog and says how it is opened. */
export function testAdmissionFacts(create: (t: ExecutionContext) => Promise<OpenCatalog>): void {
  test('when a repository was first seen to have a manifest stays: stored again, evicted, back, opened again', async (t) => {
    const open = await create(t);
    const first = await open({ now: () => 1000 });
    t.is(await seen(first, 1), undefined);
    await first.recordManifest(APP, entry(1), 1000);
    await first.recordManifest(APP, entry(1), 2000);
    await first.recordManifest(OTHER, entry(1), 3000);
    t.is(await seen(first, 1), 1000);
    t.is(await seen(first, 1, OTHER), 3000);
    await first.evict(unitOf(APP, digest(1)));
    t.is(await seen(first, 1), 1000);
    await first.close();
    const second = await open();
    t.is(await seen(second, 1), 1000);
    await second.recordManifest(APP, entry(1), 5000);
    t.is(await seen(second, 1), 1000);
    t.is((await second.findManifest(APP, digest(1)))?.storedAt, 5000);
  });

  test('what is not held is seen once, and that counts when it comes', async (t) => {
    const catalog = await (await create(t))();
    await catalog.admission.recordSight(APP, digest(1), 1000);
    await catalog.admission.recordSight(APP, digest(1), 500);
    t.is(await seen(catalog, 1), 1000);
    await catalog.recordManifest(APP, entry(1), 9000);
    t.is(await seen(catalog, 1), 1000);
    await catalog.admission.recordSight(APP, digest(1), 9500);
    t.is(await seen(catalog, 1), 1000);
  });

  test('a manifest that comes while the clock stands before the last pull is as young as that pull', async (t) => {
    const catalog = await (await create(t))();
    await catalog.recordManifest(APP, entry(1), 5000);
    await catalog.recordManifest(APP, entry(2), 10);
    t.true(((await seen(catalog, 2)) ?? 0) >= 5000);
  });

  test('a journal tells when a manifest was first seen, where it came again since', async (t) => {
    const told: unknown[] = [];
    const open = await create(t);
    const catalog = await open({ journal: (entries) => told.push(...entries) });
    await catalog.recordManifest(APP, entry(1), 1000);
    await catalog.recordManifest(APP, entry(1), 2000);
    const line = {
      manifest: digest(1),
      of: 'registry.example/app',
      type: entry(1).descriptor.mediaType,
    };
    t.deepEqual(told, [
      { ...line, at: 1000 },
      { ...line, at: 2000, seen: 1000 },
    ]);
  });

  test('what a tag last had admitted is known both ways, until it is evicted', async (t) => {
    const open = await create(t);
    const catalog = await open();
    const { admission } = catalog;
    await admission.recordAdmitted(APP, V1, digest(1));
    t.is(await admission.findAdmitted(APP, V1), undefined);
    for (const seed of [1, 2]) await catalog.recordManifest(APP, entry(seed), 1000);
    await admission.recordAdmitted(APP, V1, digest(1));
    await admission.recordAdmitted(APP, parseTag('v2'), digest(1));
    t.deepEqual(await admission.admittedAs(APP, digest(1)), [V1, parseTag('v2')]);
    t.deepEqual(await admission.admittedAs(OTHER, digest(1)), []);
    await admission.recordAdmitted(APP, V1, digest(2));
    t.is(await admission.findAdmitted(APP, V1), digest(2));
    t.is(await admission.findAdmitted(OTHER, V1), undefined);
    t.deepEqual(await admission.admittedAs(APP, digest(1)), [parseTag('v2')]);
    await catalog.evict(unitOf(APP, digest(1)));
    await catalog.close();
    const second = (await open()).admission;
    t.is(await second.findAdmitted(APP, V1), digest(2));
    t.is(await second.findAdmitted(APP, parseTag('v2')), undefined);
    t.deepEqual(await second.admittedAs(APP, digest(2)), [V1]);
  });

  test('what was found out about a manifest is kept under its name until it is evicted', async (t) => {
    const open = await create(t);
    const first = await open();
    const find = async ({ admission }: Catalog, name: string, target = APP) =>
      admission.findFinding(target, digest(1), name);
    await first.admission.recordFinding(APP, digest(1), { name: 'a', finding: { is: 1 } });
    t.is(await find(first, 'a'), undefined);
    await first.recordManifest(APP, entry(1), 1000);
    await first.admission.recordFinding(APP, digest(1), { name: 'a', finding: { is: 1 } });
    await first.admission.recordFinding(APP, digest(1), { name: 'b', finding: { is: [2] } });
    await first.admission.recordFinding(APP, digest(1), { name: 'a', finding: { is: 3 } });
    await first.recordManifest(APP, entry(1), 2000);
    await first.close();
    const second = await open();
    t.deepEqual(await find(second, 'a'), { is: 3 });
    t.deepEqual(await find(second, 'b'), { is: [2] });
    t.is(await find(second, 'a', OTHER), undefined);
    await second.evict(unitOf(APP, digest(1)));
    await second.recordManifest(APP, entry(1), 3000);
    t.is(await find(second, 'a'), undefined);
  });

  test('of a manifest eight findings are kept, those recorded last, of 64 KiB at most', async (t) => {
    const catalog = await (await create(t))();
    await catalog.recordManifest(APP, entry(1), 1000);
    const record = async (name: string, size = 1): Promise<void> =>
      catalog.admission.recordFinding(APP, digest(1), {
        name,
        finding: { text: 'x'.repeat(size) },
      });
    const kept = async (names: readonly string[]): Promise<string[]> => {
      const all = names.map(async (name) => {
        const finding = await catalog.admission.findFinding(APP, digest(1), name);
        return finding ? [name] : [];
      });
      return (await Promise.all(all)).flat();
    };
    const names = ['z', 'y', 'x', 'a', 'b', 'c', 'd', 'e'];
    for (const name of names) await record(name);
    await record('z');
    await record('new');
    const [, dropped, ...others] = names;
    t.deepEqual(await kept([...names, 'new']), ['z', ...others, 'new']);
    t.is(dropped, 'y');
    await record('z', 65_536);
    t.deepEqual(await kept(['z', 'x']), ['x']);
  });
}
