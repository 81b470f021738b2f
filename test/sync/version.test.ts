import test, { type ExecutionContext } from 'ava';
import { compareNewest, findVersion, findVersionPart } from '../../sync/tag-selector.ts';

const reads = test.macro({
  exec: (t: ExecutionContext, tag: string, whole: string | undefined, part: string | undefined) => {
    const [asTag, asPart] = [findVersion(tag), findVersionPart(tag)];
    t.is(asTag?.version, whole);
    t.is(asPart?.version, part);
  },
  title: (_, tag, whole = 'no version', part = 'no version') =>
    `${tag} is ${whole} as a tag and ${part} where the rule says that it is a version`,
});

for (const [tag, version] of Object.entries({
  '1.27.3': '1.27.3',
  'v1.30.0': '1.30.0',
  'v1.30.0-rc.1': '1.30.0-rc.1',
  '22.11.0-alpine3.20': '22.11.0-alpine3.20',
  '3.13.0rc1': '3.13.0-rc1',
  '3.21.0_rc1': '3.21.0-rc1',
  '1.5.0_build.10': '1.5.0',
  '1.5.0-rc.1_5': '1.5.0-rc.1',
  '2026.01.05': '2026.1.5',
  '0.0.0': '0.0.0',
})) {
  test(reads, tag, version, version);
}

for (const [text, version] of Object.entries({
  '1.27': '1.27.0',
  '20260101': '20260101.0.0',
  v3: '3.0.0',
  '17rc1': '17.0.0-rc1',
  '17-alpine': '17.0.0-alpine',
})) {
  test(reads, text, undefined, version);
}

for (const text of [
  '',
  'latest',
  'sha-0a1b2c3',
  'V1.2.3',
  '1.2.3.4',
  '1.2.3-',
  '1.2.3_',
  '1.2.3-a..b',
  '99999999999999999999.1.1',
  'release-1.2.3',
  '1.2.3 ',
]) {
  test(reads, text, undefined, undefined);
}

test('releases go before pre-releases, higher ones first, builds decide between equals', (t) => {
  const order = [
    '2.0.0_1',
    '2.0.0',
    '1.5.0_build.10',
    '1.5.0_build.9',
    '1.5.0',
    '3.0.0-rc.10',
    '3.0.0-rc.2',
    '3.0.0-beta.0',
    '3.0.0-alpha.11',
  ];
  const versions = order.map((tag) => findVersion(tag)!);
  const sorted = versions.toReversed().toSorted(compareNewest);
  t.deepEqual(
    sorted.map(({ raw }) => raw),
    versions.map(({ raw }) => raw),
  );
});
