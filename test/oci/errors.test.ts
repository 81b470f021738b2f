import test from 'ava';
import { IntegrityError, parseDigest } from '../../src/oci/digest.ts';
import { ERROR_STATUS, RegistryError, type ErrorCode } from '../../src/oci/errors.ts';
import { parseRepository } from '../../src/oci/reference.ts';
import { TEXTS } from '../../src/oci/texts.ts';
import {
  toRegistryError,
  UpstreamError,
  type UpstreamFault,
} from '../../src/oci/upstream-error.ts';

const STATUS: Record<ErrorCode, number> = {
  BLOB_UNKNOWN: 404,
  DENIED: 403,
  DIGEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  PAGINATION_NUMBER_INVALID: 400,
  RANGE_INVALID: 416,
  TAG_INVALID: 400,
  TOOMANYREQUESTS: 429,
  UNAUTHORIZED: 401,
  UNAVAILABLE: 502,
  UNKNOWN: 500,
  UNSUPPORTED: 405,
};

const answers = test.macro<[ErrorCode, number]>({
  exec: (t, code: ErrorCode, status: number) => {
    const error = new RegistryError(code);
    t.is(error.status, status);
    t.is(error.code, code);
    t.true(error instanceof Error);
    t.deepEqual(error.headers, {});
    const { errors } = error.toJSON();
    t.deepEqual(errors, [{ code, message: TEXTS[code] }]);
    t.regex(code, /^[A-Z_]+$/);
    t.regex(TEXTS[code], /^[a-z][a-z ]+$/);
  },
  title: (_, code, status) => `${code} is ${status}`,
});

test('the table is complete', (t) => {
  t.deepEqual(Object.keys(ERROR_STATUS).toSorted(), Object.keys(STATUS).toSorted());
});
for (const [code, status] of Object.entries(STATUS)) test(answers, code as ErrorCode, status);

test('status, message, detail, headers and cause of one case replace those of the table', (t) => {
  const cause = new Error('inside');
  const error = new RegistryError('UNAVAILABLE', {
    status: 504,
    message: 'too late',
    detail: { upstream: 'x' },
    headers: { 'Retry-After': '5' },
    cause,
  });
  t.is(error.status, 504);
  t.is(error.cause, cause);
  t.deepEqual(error.headers, { 'Retry-After': '5' });
  t.deepEqual(JSON.parse(JSON.stringify(error)), {
    errors: [{ code: 'UNAVAILABLE', message: 'too late', detail: { upstream: 'x' } }],
  });
});

test('a cause stands first in the message, which is all that clients print, on its first line', (t) => {
  for (const [text, cause] of [
    ['Org/app', '"Org/app"'],
    ['a\nb', String.raw`"a\nb"`],
    ['a'.repeat(256), 'longer than 255 characters'],
  ] as const) {
    const error = t.throws(() => parseRepository(text), { instanceOf: RegistryError });
    const message = `${cause}: ${TEXTS.NAME_INVALID}`;
    t.is(error?.message, message);
    t.deepEqual(error?.toJSON().errors, [{ code: 'NAME_INVALID', message, detail: cause }]);
  }
});

const FAULTS: Record<UpstreamFault, [ErrorCode, number]> = {
  offline: ['UNAVAILABLE', 504],
  timeout: ['UNAVAILABLE', 504],
  unreachable: ['UNAVAILABLE', 502],
  'bad-response': ['UNAVAILABLE', 502],
  failing: ['UNAVAILABLE', 502],
  unauthorized: ['DENIED', 403],
  denied: ['DENIED', 403],
  refused: ['DENIED', 403],
  'rate-limited': ['TOOMANYREQUESTS', 429],
};

for (const [fault, [code, status]] of Object.entries(FAULTS)) {
  test(`an upstream that is ${fault} is ${status} ${code} and names itself, never a 404`, (t) => {
    const cause = new UpstreamError('ghcr.io', fault as UpstreamFault, 'the reason', {
      status: 599,
    });
    const error = toRegistryError(cause);
    t.is(error.code, code);
    t.is(error.status, status);
    t.is(error.cause, cause);
    const [answer] = error.toJSON().errors;
    t.is(answer?.message, 'ghcr.io: the reason');
    t.deepEqual(answer?.detail, { upstream: 'ghcr.io', fault, upstreamStatus: 599 });
  });
}

test('503 of an upstream stays 503', (t) => {
  const error = new UpstreamError('x', 'failing', 'busy', { status: 503 });
  t.is(toRegistryError(error).status, 503);
});

test('a rate limit carries the time to wait, in whole seconds, and one where none was told', (t) => {
  const retryAfter = (retryAfterMs?: number): string | undefined =>
    toRegistryError(
      new UpstreamError('x', 'rate-limited', 'slow', {
        ...(retryAfterMs !== undefined && { retryAfterMs }),
      }),
    ).headers['Retry-After'];
  t.is(retryAfter(1), '1');
  t.is(retryAfter(30_000), '30');
  t.is(retryAfter(30_001), '31');
  t.regex(retryAfter() ?? '', /^[1-9]\d*$/);
});

test('damaged content is 502, an unknown fault 500 without a word of what it was', (t) => {
  const digest = parseDigest(`sha256:${'a'.repeat(64)}`);
  const damage = toRegistryError(new IntegrityError(digest, { expected: '5', actual: '6' }));
  t.is(damage.status, 502);
  t.is(damage.code, 'UNAVAILABLE');
  for (const fault of [
    new Error('secret path'),
    'secret',
    undefined,
    null,
    new TypeError('secret'),
  ]) {
    const error = toRegistryError(fault);
    t.is(error.status, 500);
    t.is(error.code, 'UNKNOWN');
    t.false(JSON.stringify(error).includes('secret'));
  }
});

test('an error that is an answer already stays as it is', (t) => {
  const error = new RegistryError('DENIED', { detail: 1 });
  t.is(toRegistryError(error), error);
});
