import { contentAnswer, textAnswer } from './fake-answer.ts';
import type { Answer, Carried } from './fake-answer.ts';
import { MEDIA_TYPES } from './image.ts';
import type { Stored } from './image.ts';
import type { RecordedRequest } from './recorded-request.ts';

interface Signed {
  readonly path: string;
  readonly stored: Stored;
  readonly carries: Carried;
}

/** The object store that redirects lead to: signed addresses only, and no second way to authenticate. */
export class FakeStorage {
  /** Where it listens. */
  url = '';
  readonly #signatures = new Map<string, Signed>();
  #count = 0;

  /** A fresh address for this content. */
  sign(kind: 'blobs' | 'manifests', stored: Stored, carries: Carried): string {
    const signature = `signature-${++this.#count}`;
    const path = `/${kind}/${stored.digest}`;
    this.#signatures.set(signature, { path, stored, carries });
    return `${this.url}${path}?X-Expires=600&X-Signature=${signature}`;
  }

  /** Every address given out so far is 403 from now on. */
  expireSignatures(): void {
    this.#signatures.clear();
  }

  answer(request: RecordedRequest): Answer {
    if (request.headers.authorization !== undefined) {
      return xmlError(400, 'InvalidArgument', 'Only one auth mechanism allowed');
    }
    const signed = this.#signatures.get(request.query.get('X-Signature') ?? '');
    if (signed?.path !== request.path || request.query.get('X-Expires') !== '600') {
      return xmlError(403, 'AccessDenied', 'Request has expired');
    }
    const answer = { ...contentAnswer(signed.stored, signed.carries), ranged: true };
    if (request.path.startsWith('/manifests/')) return answer;
    const headers = { 'Content-Type': MEDIA_TYPES.blob, ETag: '"of-the-store"' };
    return { ...answer, headers };
  }
}

function xmlError(status: number, code: string, message: string): Answer {
  const xml = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return textAnswer(status, 'application/xml', xml);
}
