import test from 'ava';
import { MINUTE } from '../../helpers/clock.ts';
import { FAMILIES } from '../../helpers/families/all.ts';
import {
  PRIVATE,
  denial,
  greeted,
  heard,
  proof,
  spoken,
  startFamily,
  tokenLines,
  usualLogin,
  type Family,
  type LoginKind,
  type Refused,
} from '../../helpers/family.ts';
import { buildImage } from '../../helpers/image.ts';
import { REPOSITORY, UPSTREAM, refusalOf } from '../../helpers/scene.ts';

const { manifest: ABSENT } = buildImage({ seed: 'absent', layers: [1] });
const NOTHING = 'library/nothing';

function unknownManifest(repository: string, reference: string): Record<string, unknown> {
  return {
    status: 404,
    code: 'MANIFEST_UNKNOWN',
    message: `${UPSTREAM} has no manifest ${reference} in ${repository}`,
    detail: { upstream: UPSTREAM, reference },
  };
}

/** The requests up to a refusal, the first one from nothing or with what is known by then. */
function toRefusal(
  family: Family,
  refused: Refused,
  { login, line, repository }: { login: LoginKind | 'wrong'; line: string; repository: string },
): { first: string[]; later: string[] } {
  const token = refused.at === 'mirror' ? [] : tokenLines(family, login, repository);
  const shown = login === 'wrong' ? proof(family, 'credentials') : proof(family, login);
  const last = refused.at === 'registry' ? [`${line} [${shown}]`] : [];
  const reread = line.startsWith('HEAD ') ? last.map((entry) => entry.replace('HEAD', 'GET')) : [];
  if (refused.at === 'mirror') return { first: [`${line} [none]`], later: [] };
  const begin = [...greeted(family, login, line), ...token, ...last];
  if (refused.at === 'token') return { first: begin, later: token };
  // The token may be to blame for a 401, unless that says `insufficient_scope`; a 403 is the last word.
  const isVague = refused.status === 401 && family.registry.auth?.challenges !== undefined;
  const newer = tokenLines(family, login, repository, true);
  const again = (lines: string[]): string[] => [...newer, ...lines];
  // Who asked nobody before has the token of the repository's own challenge already.
  const isGreeted = isVague && login !== 'anonymous';
  // By GET once more after a HEAD: with a newer token too.
  const then = reread.length > 0 && isVague ? [...reread, ...again(reread)] : reread;
  const first = [...begin, ...(isGreeted ? again(last) : []), ...then];
  return { first, later: isVague ? [...last, ...again(last)] : last };
}

for (const family of FAMILIES) {
  const login = usualLogin(family);

  test(`${family.name}: a missing tag, manifest and blob are 404, and believed for a while`, async (t) => {
    const options = { tags: { negativeTtlMs: MINUTE } };
    const { registry, manifest, ask } = await startFamily(t, family, login, options);
    registry.name(ABSENT.digest, 'absent');
    const base = `/v2/${REPOSITORY}`;
    for (const source of ['fwd=miss', 'hit; detail=negative']) {
      for (const reference of ['missing', ABSENT.digest]) {
        const answer = await manifest(reference);
        t.deepEqual(refusalOf(answer), unknownManifest(REPOSITORY, reference));
        t.is(answer.headers['cache-status'], `entrepot; ${source}`);
      }
      t.deepEqual(refusalOf(await ask(`${base}/blobs/${ABSENT.digest}`)), {
        status: 404,
        code: 'BLOB_UNKNOWN',
        message: `${UPSTREAM}/${REPOSITORY} has no blob ${ABSENT.digest}`,
        detail: { upstream: UPSTREAM, digest: ABSENT.digest },
      });
    }
    t.deepEqual(
      spoken(registry).filter((line) => !line.startsWith('GET storage /blobs')),
      heard(family, login, [
        `HEAD ${base}/manifests/missing`,
        `GET ${base}/manifests/missing`,
        `GET ${base}/manifests/<absent>`,
        `GET ${base}/blobs/<absent>`,
      ]).filter((line) => !line.startsWith('GET storage /blobs')),
    );
  });

  const { missingRepository = 'absent' } = family;
  test(`${family.name}: a missing repository is ${missingRepository === 'absent' ? '404' : '403'}`, async (t) => {
    const { registry, ask } = await startFamily(t, family, login);
    const paths = {
      HEAD: `/v2/${NOTHING}/manifests/latest`,
      GET: `/v2/${NOTHING}/manifests/${ABSENT.digest}`,
    };
    registry.name(ABSENT.digest, 'absent');
    const byTag = refusalOf(await ask(paths.HEAD));
    const afterTag = spoken(registry);
    registry.clear();
    const byDigest = refusalOf(await ask(paths.GET));
    const [tagLine, digestLine] = [`HEAD ${paths.HEAD}`, `GET /v2/${NOTHING}/manifests/<absent>`];
    if (missingRepository === 'absent') {
      t.deepEqual(byTag, unknownManifest(NOTHING, 'latest'));
      t.deepEqual(byDigest, unknownManifest(NOTHING, ABSENT.digest));
      t.deepEqual(
        afterTag,
        heard(family, login, [tagLine, `GET ${paths.HEAD}`], { repository: NOTHING }),
      );
      t.deepEqual(spoken(registry), heard(family, login, [digestLine], { isKnown: true }));
      return;
    }
    t.deepEqual(byTag, denial(missingRepository, registry, login));
    t.deepEqual(byDigest, denial(missingRepository, registry, login));
    const lines = (line: string): { first: string[]; later: string[] } =>
      toRefusal(family, missingRepository, { login, line, repository: NOTHING });
    t.deepEqual(afterTag, lines(tagLine).first);
    t.deepEqual(spoken(registry), lines(digestLine).later);
  });
}

const RIGHTS: [
  why: string,
  login: 'anonymous' | 'wrong',
  of: (family: Family) => Refused | undefined,
][] = [
  ['without credentials', 'anonymous', ({ privateRepository }) => privateRepository],
  ['with wrong credentials', 'wrong', ({ wrongCredentials }) => wrongCredentials],
];

for (const [why, login, of] of RIGHTS) {
  for (const family of FAMILIES.filter((entry) => of(entry) !== undefined)) {
    const refused = of(family);
    if (!refused) continue;
    test(`${family.name}: a private repository ${why} is 403, and no challenge`, async (t) => {
      const { registry, ask } = await startFamily(t, family, login);
      const image = buildImage({ seed: 'private', layers: [10] });
      registry.addImage(PRIVATE, 'latest', image, { name: 'own' });
      const byTag = await ask(`/v2/${PRIVATE}/manifests/latest`);
      const afterTag = spoken(registry);
      registry.clear();
      const byDigest = await ask(`/v2/${PRIVATE}/manifests/${image.manifest.digest}`);
      t.deepEqual(refusalOf(byTag), denial(refused, registry, login));
      t.deepEqual(refusalOf(byDigest), denial(refused, registry, login));
      for (const { headers } of [byTag, byDigest]) t.is(headers['www-authenticate'], undefined);
      const lines = (line: string): { first: string[]; later: string[] } =>
        toRefusal(family, refused, { login, line, repository: PRIVATE });
      t.deepEqual(afterTag, lines(`HEAD /v2/${PRIVATE}/manifests/latest`).first);
      t.deepEqual(spoken(registry), lines(`GET /v2/${PRIVATE}/manifests/<own>`).later);
    });
  }
}
