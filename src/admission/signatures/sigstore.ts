import type { Bundle } from '@sigstore/bundle';
import { HashAlgorithm } from '@sigstore/protobuf-specs';
import { hash } from 'node:crypto';
import type { Refusal, Signer, Verified } from '../verdict.ts';
import { readClassic, type ClassicLayer } from './classic.ts';
import { readBundle } from './read-bundle.ts';
import { refuse, Refused } from './refused.ts';
import { checkDigests, type SignedImage } from './signed-image.ts';
import { SignedContent } from './signed-content.ts';
import { SignerCheck, type SigstoreTrust } from './signer-check.ts';
import { checkSimpleSigning, readStatement, type Kind, type Statement } from './statement.ts';

/** What evidence has to be about. */
export interface Asked {
  readonly image: SignedImage;
  readonly kind: Kind;
  /** One of them has to have signed. */
  readonly signers: readonly Signer[];
}

/** A statement may carry the whole list of what an image is made of. */
const MAX_BYTES: Readonly<Record<Kind, number>> = { signature: 2 ** 20, attestation: 2 ** 24 };
/** What the library calls what it refuses. */
const CODES: Readonly<Record<string, 'timestamp' | 'certificate' | 'log-entry' | 'log-tie'>> = {
  TIMESTAMP_ERROR: 'timestamp',
  CERTIFICATE_ERROR: 'certificate',
  TLOG_ERROR: 'log-entry',
  TLOG_MISSING_INCLUSION_ERROR: 'log-entry',
  TLOG_INCLUSION_PROOF_ERROR: 'log-entry',
  TLOG_INCLUSION_PROMISE_ERROR: 'log-entry',
  TLOG_BODY_ERROR: 'log-tie',
};

/**
 * What Sigstore signatures and attestations are worth. Nothing is asked of any network, and nothing that is
 * handed in makes it throw. A signature has at most 1 MiB, an attestation 16 MiB. It brings its libraries: who
 * may never need it imports it when it is first asked.
 */
export class Sigstore {
  readonly #check: SignerCheck;

  constructor(trust: SigstoreTrust) {
    this.#check = new SignerCheck(trust);
  }

  /** A bundle as cosign 3 attaches it to an image. */
  verifyBundle(bytes: Uint8Array, asked: Asked): Verified | Refusal {
    const what = `sha256:${hash('sha256', bytes, 'hex')}`;
    return this.#judge(what, asked, () => {
      const bundle = readBundle(bytes, MAX_BYTES[asked.kind]);
      const { content } = bundle;
      if (content.$case === 'messageSignature') {
        checkMessage(content.messageSignature, asked);
        return { bundle, artifact: asked.image.manifest };
      }
      return {
        bundle,
        statement: statedIn(content.dsseEnvelope, asked),
      };
    });
  }

  /** A layer as earlier versions of cosign keep it under a tag of its own. */
  verifyClassic(layer: ClassicLayer, asked: Asked): Verified | Refusal {
    const { payload, annotations } = layer;
    const parts = JSON.stringify([
      hash('sha256', payload, 'hex'),
      Object.keys(annotations)
        .toSorted()
        .map((name) => [name, annotations[name]]),
    ]);
    const what = `sha256:${hash('sha256', parts, 'hex')}`;
    return this.#judge(what, asked, () => {
      const bundle = readClassic(layer, MAX_BYTES[asked.kind]);
      const { content } = bundle;
      if (content.$case === 'messageSignature') {
        if (asked.kind !== 'signature') throw refuse('predicate-type', { type: layer.mediaType });
        checkSimpleSigning(payload, asked.image);
        return { bundle, artifact: payload };
      }
      return {
        bundle,
        statement: statedIn(content.dsseEnvelope, asked),
      };
    });
  }

  #judge(what: string, { signers }: Asked, read: () => Read): Verified | Refusal {
    let isRead = false;
    try {
      const { bundle, artifact = new Uint8Array(), statement: state } = read();
      isRead = true;
      const content = new SignedContent(bundle, artifact);
      const found = this.#check.check(bundle, content, signers);
      const statement = state?.();
      return { ...found, what, ...(statement && { statement }) };
    } catch (error) {
      const { code, message } = asRefused(error, isRead);
      return { code, reason: message, what };
    }
  }
}

interface Read {
  readonly bundle: Bundle;
  /** What a signature outside an envelope is of. */
  readonly artifact?: Uint8Array;
  readonly statement?: () => Statement | undefined;
}

type Envelope = Parameters<typeof readStatement>[0];

/** Those that are longer are read when the signature is known to be good: a stranger's would cost seconds. */
const MAX_EARLY_BYTES = 64 * 1024;

function statedIn(envelope: Envelope, { image, kind }: Asked): () => Statement | undefined {
  const read = (): Statement | undefined => readStatement(envelope, image, kind);
  if (envelope.payload.length > MAX_EARLY_BYTES) return read;
  const statement = read();
  return () => statement;
}

type Message = Extract<Bundle['content'], { $case: 'messageSignature' }>['messageSignature'];

const ALGORITHMS: Readonly<Partial<Record<HashAlgorithm, string>>> = {
  [HashAlgorithm.SHA2_256]: 'sha256',
  [HashAlgorithm.SHA2_384]: 'sha384',
  [HashAlgorithm.SHA2_512]: 'sha512',
};

/** What a signature outside an envelope says that it is of. */
function checkMessage({ messageDigest }: Message, { image, kind }: Asked): void {
  if (kind !== 'signature') throw refuse('predicate-type', { type: 'a signature' });
  const algorithm = ALGORITHMS[messageDigest.algorithm] ?? 'unknown';
  checkDigests({ [algorithm]: messageDigest.digest.toString('hex') }, image);
}

/** Whatever it was that was thrown, it is a refusal. */
function asRefused(error: unknown, isRead: boolean): Refused {
  if (error instanceof Refused) return error;
  const why = error instanceof Error ? error.message.slice(0, 200) : 'unknown';
  const name = String((error as { code?: unknown } | undefined)?.code);
  if (name === 'SIGNATURE_ERROR') return refuse('signature');
  const code = CODES[name];
  if (code) return refuse(code, { why });
  return isRead ? refuse('unverified', { why }) : refuse('malformed', { why });
}
