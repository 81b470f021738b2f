import test from 'ava';
import { messageOf } from './guarded.ts';
import { startScanned } from './scanned.ts';
import { REPOSITORY, UPSTREAM } from '../helpers/scene.ts';

const CRITICAL = { id: 'CVE-2024-45491', fix: '2.5.0-1+deb12u1' };

test('an image without findings is pulled in full; the scanner was asked about it once', async (t) => {
  const { manifest, blob, image, scanner } = await startScanned(t);
  t.is((await manifest('latest', { method: 'HEAD' })).status, 200);
  const pulled = await manifest('latest');
  t.is(pulled.status, 200);
  for (const each of image.blobs) t.deepEqual((await blob(each)).body, each.bytes);
  t.deepEqual(
    scanner.scans.map(({ repository, digest }) => ({ repository, digest })),
    [{ repository: `${UPSTREAM}/${REPOSITORY}`, digest: image.manifest.digest }],
  );
});

test('an image with a finding above the line leaves by no way, and the finding is named', async (t) => {
  const { manifest, blob, image, scanner } = await startScanned(t);
  scanner.findings.set(image.manifest.digest, [CRITICAL]);
  for (const method of ['HEAD', 'GET']) {
    for (const reference of ['latest', image.manifest.digest]) {
      t.is((await manifest(reference, { method })).status, 403, `${method} ${reference}`);
    }
    for (const each of [...image.blobs, image.manifest]) {
      t.is((await blob(each, { method })).status, 403, `${method} ${each.digest}`);
    }
  }
  t.regex(
    messageOf(await manifest('latest')),
    /admission\.rules\[0\] .* 1 vulnerability above medium: CVE-2024-45491 \(critical, libexpat1 2\.5\.0-1, fixed in 2\.5\.0-1\+deb12u1\)/,
  );
  t.is(scanner.scans.length, 1);
});
