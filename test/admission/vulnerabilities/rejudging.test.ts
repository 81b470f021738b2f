/** When a verdict is renewed because the scanner knows more. */
import test from 'ava';
import {
  planRejudging,
  type RejudgingParts,
} from '../../../src/admission/vulnerabilities/rejudging.ts';
import { parseMetadata } from '../../../src/admission/vulnerabilities/scanner-metadata.ts';
import { HOUR } from '../../helpers/clock.ts';
import { OCI_MANIFEST } from './fake-adapter.ts';
import { TRIVY } from './trivy-form.ts';

const NOW = Date.UTC(2030, 0, 2);
const JAVA = 'harbor.scanner-adapter/vulnerability-java-database';
const UPDATED_AT = 'harbor.scanner-adapter/vulnerability-database-updated-at';

function scanner(updatedAt: string | undefined, version = '1'): RejudgingParts['scanner'] {
  return parseMetadata({
    scanner: { name: 'Scanner', version },
    capabilities: [
      { consumes_mime_types: [OCI_MANIFEST], produces_mime_types: [TRIVY.reportType] },
    ],
    properties: { [UPDATED_AT]: updatedAt },
  });
}

function plan(
  before: string | undefined,
  now: string | undefined,
  more: Partial<RejudgingParts> & { version?: string } = {},
): ReturnType<typeof planRejudging> {
  const { version, ...parts } = more;
  return planRejudging({
    before: { database: scanner(before).database, at: NOW - 6 * HOUR },
    scanner: scanner(now, version),
    overtakenAt: NOW - HOUR,
    maxAgeMs: 24 * HOUR,
    now: NOW,
    ...parts,
  });
}

const OLD = '2030-01-01T00:00:00Z';
const NEW = '2030-01-02T00:00:00Z';

test('a verdict by the same database stands', (t) => {
  t.deepEqual(plan(OLD, OLD), {
    kind: 'current',
    validUntil: undefined,
  });
});

test('a newer database has the verdict of before serve for the grace from when it was seen', (t) => {
  t.deepEqual(plan(OLD, NEW), {
    kind: 'due',
    validUntil: NOW + 23 * HOUR,
  });
  t.like(plan(OLD, OLD, { version: '2' }), { kind: 'due', validUntil: NOW + 23 * HOUR });
});

test('another index of Java packages has verdicts renewed, which Trivy tells by when the next is due', (t) => {
  for (const name of ['updated', 'next-update']) {
    const [old, renewed] = [OLD, NEW].map((at) =>
      parseMetadata({
        scanner: { name: 'Scanner' },
        capabilities: [],
        properties: { [UPDATED_AT]: OLD, [`${JAVA}-${name}-at`]: at },
      }),
    );
    const before = { database: old!.database, at: NOW };
    t.is(plan(OLD, OLD, { before, scanner: old! }).kind, 'current', name);
    t.is(plan(OLD, OLD, { before, scanner: renewed! }).kind, 'due', name);
  }
});

test('an older database is none to judge anew by', (t) => {
  t.deepEqual(plan(NEW, OLD), {
    kind: 'current',
    validUntil: undefined,
  });
});

test('a scanner that does not tell its age has verdicts renewed in good time', (t) => {
  const validUntil = NOW + 18 * HOUR;
  t.like(plan(undefined, undefined), { kind: 'current', validUntil });
  t.like(plan(undefined, undefined, { now: NOW + 6 * HOUR }), { kind: 'due', validUntil });
  t.like(plan(undefined, undefined, { version: '2' }), { kind: 'due', validUntil });
  t.like(plan(undefined, NEW), { kind: 'due', validUntil });
  t.like(plan(NEW, undefined), { kind: 'due', validUntil });
});
