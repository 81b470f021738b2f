import { RegistryError } from './errors.ts';
import { IntegrityError } from './integrity-error.ts';
import { UpstreamError } from './upstream-error.ts';
import { TEXTS } from './texts.ts';

/** Told to clients when a registry answers 429 without `Retry-After`. */
const DEFAULT_RETRY_AFTER_MS = 60_000;

/**
 * The one translation of faults into answers: a fault of an upstream keeps its meaning and names
 * the upstream and the cause, and only an upstream's own 404 is a 404.
 */
export function toRegistryError(error: unknown): RegistryError {
  if (error instanceof RegistryError) return error;
  if (error instanceof UpstreamError) return fromUpstream(error);
  if (error instanceof IntegrityError) {
    return new RegistryError('UNAVAILABLE', { message: TEXTS.damaged(error), cause: error });
  }
  return new RegistryError('UNKNOWN', { cause: error });
}

function fromUpstream(error: UpstreamError): RegistryError {
  const { message, upstream, fault, status } = error;
  const detail = { upstream, fault, ...(status !== undefined && { upstreamStatus: status }) };
  const options = { message, detail, cause: error };
  switch (error.fault) {
    case 'unauthorized':
    case 'denied':
      return new RegistryError('DENIED', options);
    case 'rate-limited': {
      const seconds = Math.max(1, Math.ceil((error.retryAfterMs ?? DEFAULT_RETRY_AFTER_MS) / 1000));
      return new RegistryError('TOOMANYREQUESTS', {
        ...options,
        headers: { 'Retry-After': String(seconds) },
      });
    }
    // As RFC 9111 section 5.2.1.7 answers `only-if-cached` for what is not stored.
    case 'offline':
    case 'timeout':
      return new RegistryError('UNAVAILABLE', { ...options, status: 504 });
    case 'failing':
      return new RegistryError('UNAVAILABLE', { ...options, status: status === 503 ? 503 : 502 });
    case 'bad-response':
      return new RegistryError('UNAVAILABLE', { ...options, ...(status === 508 && { status }) });
    case 'unreachable':
      return new RegistryError('UNAVAILABLE', options);
  }
}
