/** What a mirror loads of admission, and when. */
import { registerHooks } from 'node:module';
import test from 'ava';

const loaded = new Set<string>();
registerHooks({
  load(url, context, next) {
    loaded.add(url);
    return next(url, context);
  },
});
const { startScene } = await import('../helpers/scene.ts');
const { startGuarded } = await import('./guarded.ts');

/** What judges: the rest is the gate, which finds that no rule is about an image. */
const JUDGING =
  /\/src\/admission\/(?:signatures|notation|vulnerabilities)\/|\/src\/admission\/(?:scanning|few-vulnerabilities|attestations)\.ts$|\/node_modules\/@sigstore\//;

function judging(): string[] {
  return [...loaded].filter((url) => JUDGING.test(url));
}

test('what judges is loaded when a rule is first about what is pulled, and not before', async (t) => {
  const open = await startScene(t);
  t.is((await open.manifest('latest')).status, 200);
  const elsewhere = await startGuarded(t, { rule: { images: ['other.example/**'] } });
  t.is((await elsewhere.manifest('latest')).status, 200);
  t.deepEqual(judging(), []);
  const guarded = await startGuarded(t);
  t.is((await guarded.manifest('latest')).status, 403);
  t.true(judging().some((url) => url.endsWith('/src/admission/signatures/sigstore.ts')));
});
