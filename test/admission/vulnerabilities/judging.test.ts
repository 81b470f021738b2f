/** Which findings refuse an image. */
import test from 'ava';
import * as fc from 'fast-check';
import {
  judgeFindings,
  type VulnerabilityException,
  type VulnerabilityPolicy,
} from '../../../src/admission/vulnerabilities/judgement.ts';
import type { Finding } from '../../../src/admission/vulnerabilities/report.ts';
import { type Severity } from '../../../src/admission/vulnerabilities/severity.ts';
import { SEVERITIES } from '../../../src/config/vulnerabilities-schema.ts';
import type { VexStatement } from '../../../src/admission/vulnerabilities/vex.ts';
import { DIGEST, OTHER_DIGEST } from './fake-adapter.ts';

const NOW = Date.UTC(2030, 0, 1);
const DAY = 24 * 3_600_000;
const POLICY: VulnerabilityPolicy = {
  atMost: 'medium',
  unknown: 'unknown',
  fixableOnly: false,
  exceptions: [],
};

function finding(severity: Severity, more: Partial<Finding> = {}): Finding {
  return {
    id: 'CVE-2030-0001',
    aliases: [],
    package: 'openssl',
    version: '3.0.1',
    fixVersion: '3.0.2',
    severity,
    ...more,
  };
}

function exception(more: Partial<VulnerabilityException>): VulnerabilityException {
  return { reason: 'not reachable', owner: 'alice', until: NOW + DAY, ...more };
}

function judge(
  findings: readonly Finding[],
  policy: Partial<VulnerabilityPolicy> = {},
  statements: readonly VexStatement[] = [],
  now = NOW,
): ReturnType<typeof judgeFindings> {
  return judgeFindings({
    findings,
    policy: { ...POLICY, ...policy },
    statements,
    digests: [DIGEST],
    now,
  });
}

test('each severity refuses above the line and not on it', (t) => {
  for (const [at, atMost] of SEVERITIES.entries()) {
    for (const [rank, severity] of SEVERITIES.entries()) {
      const { kind } = judge([finding(severity)], { atMost });
      t.is(kind, rank > at ? 'refused' : 'admitted', `${severity} above ${atMost}`);
    }
  }
  t.deepEqual(judge([]), { kind: 'admitted', lifted: [], ended: [], validUntil: undefined });
});

test('what nobody has rated counts as the policy says', (t) => {
  t.is(judge([finding('unknown')]).kind, 'admitted');
  t.is(judge([finding('unknown')], { unknown: 'critical' }).kind, 'refused');
  t.is(judge([finding('unknown')], { unknown: 'high', atMost: 'high' }).kind, 'admitted');
});

test('where only fixable ones count, one without a fix does not, and is told', (t) => {
  const unfixed = finding('critical', { fixVersion: undefined });
  t.is(judge([unfixed]).kind, 'refused');
  t.deepEqual(judge([unfixed], { fixableOnly: true }), {
    kind: 'admitted',
    lifted: [{ finding: unfixed, lift: { by: 'no-fix' } }],
    ended: [],
    validUntil: undefined,
  });
  t.is(judge([unfixed, finding('critical')], { fixableOnly: true }).kind, 'refused');
});

test('a refusal names the worst findings first, five of them, and what mends them', (t) => {
  const many = Array.from({ length: 5 }, (_, at) => finding('high', { id: `CVE-2030-100${at}` }));
  const worst = finding('critical', { id: 'CVE-2030-9', fixVersion: undefined });
  const outcome = judge([...many, finding('low'), worst]);
  if (outcome.kind !== 'refused') return t.fail();
  t.is(outcome.code, 'vulnerable');
  t.is(outcome.findings[0], worst);
  t.is(outcome.findings.length, 6);
  t.is(
    outcome.reason,
    '6 vulnerabilities above medium: CVE-2030-9 (critical, openssl 3.0.1), ' +
      'CVE-2030-1000 (high, openssl 3.0.1, fixed in 3.0.2), CVE-2030-1001 (high, openssl 3.0.1, fixed in 3.0.2), ' +
      'CVE-2030-1002 (high, openssl 3.0.1, fixed in 3.0.2), CVE-2030-1003 (high, openssl 3.0.1, fixed in 3.0.2) and 1 more',
  );
});

test('an exception lifts the finding that it names, by either of its names, for its digest', (t) => {
  const high = finding('high', { aliases: ['GHSA-aaaa-bbbb-cccc'] });
  const cases: [Partial<VulnerabilityException>, boolean][] = [
    [{ cve: 'CVE-2030-0001' }, true],
    [{ cve: 'cve-2030-0001' }, true],
    [{ cve: 'GHSA-aaaa-bbbb-cccc' }, true],
    [{ cve: 'CVE-2030-0002' }, false],
    [{ cve: 'CVE-2030-000' }, false],
    [{ digest: DIGEST }, true],
    [{ digest: OTHER_DIGEST }, false],
    [{ cve: 'CVE-2030-0001', digest: DIGEST }, true],
    [{ cve: 'CVE-2030-0001', digest: OTHER_DIGEST }, false],
    [{ cve: 'CVE-2030-0002', digest: DIGEST }, false],
    [{}, false],
  ];
  for (const [given, isLifted] of cases) {
    const outcome = judge([high], { exceptions: [exception(given)] });
    t.is(outcome.kind, isLifted ? 'admitted' : 'refused', JSON.stringify(given));
  }
});

test('an exception that has ended lifts nothing, and is told', (t) => {
  const given = exception({ cve: 'CVE-2030-0001', until: NOW });
  const outcome = judge([finding('high')], { exceptions: [given] });
  t.like(outcome, { kind: 'refused', ended: [given] });
  t.regex(
    (outcome as { reason: string }).reason,
    /; the exception of alice for CVE-2030-0001 ended on 2030-01-01$/,
  );
  const other = judge([finding('high', { id: 'CVE-2030-0002' })], { exceptions: [given] });
  t.deepEqual(other.ended, []);
  t.is(judge([finding('high')], { exceptions: [given] }, [], NOW - 1).kind, 'admitted');
});

test('a verdict lasts until the first exception ends that it needs', (t) => {
  const exceptions = [
    exception({ cve: 'CVE-2030-0001', until: NOW + DAY }),
    exception({ cve: 'CVE-2030-0001', until: NOW + 3 * DAY }),
    exception({ cve: 'CVE-2030-0002', until: NOW + 2 * DAY }),
    exception({ cve: 'CVE-2030-0003', until: NOW + 1 }),
  ];
  const two = [finding('high'), finding('high', { id: 'CVE-2030-0002' })];
  t.like(judge(two, { exceptions }), { kind: 'admitted', validUntil: NOW + 2 * DAY });
  t.like(judge([finding('low')], { exceptions }), { kind: 'admitted', validUntil: undefined });
});

test('what has no end lifts before an exception does', (t) => {
  const said: VexStatement = {
    ids: ['CVE-2030-0001'],
    status: 'fixed',
    isJustified: false,
    packages: undefined,
    at: NOW - DAY,
    from: 'vendor',
  };
  const exceptions = [exception({ cve: 'CVE-2030-0001' })];
  t.like(judge([finding('high')], { exceptions }, [said]), {
    validUntil: undefined,
    lifted: [{ lift: { by: 'statement', statement: said } }],
  });
});

const severities = fc.constantFrom(...SEVERITIES);
const findings = fc.array(
  fc.record({
    id: fc.constantFrom('CVE-1', 'CVE-2', 'CVE-3'),
    aliases: fc.constant([]),
    package: fc.constantFrom('a', 'b'),
    version: fc.constant('1'),
    fixVersion: fc.option(fc.constant('2'), { nil: undefined }),
    severity: severities,
  }),
  { maxLength: 6 },
);
const exceptions = fc.array(
  fc.record({
    cve: fc.option(fc.constantFrom('CVE-1', 'CVE-2', 'CVE-3'), { nil: undefined }),
    digest: fc.option(fc.constantFrom(DIGEST, OTHER_DIGEST), { nil: undefined }),
    reason: fc.constant('r'),
    owner: fc.constant('o'),
    until: fc.integer({ min: -5, max: 5 }).map((days) => NOW + days * DAY),
  }),
  { maxLength: 4 },
);
const policies = fc.record({
  atMost: severities,
  unknown: severities,
  fixableOnly: fc.boolean(),
  exceptions,
});

test('until a verdict ends a fresh judgement says the same', (t) => {
  fc.assert(
    fc.property(findings, policies, fc.integer({ min: 0, max: 5 * DAY }), (all, policy, later) => {
      const outcome = judge(all, policy);
      if (outcome.kind !== 'admitted') return true;
      const { validUntil = Infinity } = outcome;
      const fresh = judge(all, policy, [], NOW + later);
      return NOW + later >= validUntil || fresh.kind === 'admitted';
    }),
  );
  t.pass();
});

test('a stricter policy, one finding more or one exception less admits nothing more', (t) => {
  fc.assert(
    fc.property(findings, policies, severities, (all, policy, severity) => {
      if (judge(all, policy).kind === 'admitted') return true;
      const stricter = [
        judge([...all, finding(severity)], policy),
        judge(all, { ...policy, exceptions: policy.exceptions.slice(1) }),
        judge(all, { ...policy, fixableOnly: false }),
        judge(all, { ...policy, atMost: 'unknown' }),
      ];
      return stricter.every(({ kind }) => kind === 'refused');
    }),
  );
  t.pass();
});
