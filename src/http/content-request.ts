import type { Addressing, RegistryTarget } from '../mirror/addressing.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Target } from '../oci/reference.ts';
import type { Demand } from '../upstream/demand.ts';
import type { RequestKind, V2Context } from './request-record.ts';
import { TEXTS } from './texts.ts';

/** A request for content, understood once; handlers see nothing of its spelling. */
export interface UnderstoodRequest {
  readonly target: Target;
  /** The repository as the client wrote it: some ask for a token by this name. */
  readonly name: string;
  /** The last path component: tag or digest as the client wrote it. */
  readonly reference: string;
}

/** Once it is known who asks. */
export interface ContentRequest extends UnderstoodRequest {
  readonly demand: Demand;
}

/** The path of a request, in parts as the client spelled them. */
interface ContentPath {
  readonly kind: RequestKind;
  /** What stands before `/v2/`. */
  readonly prefix: string | undefined;
  readonly name: string;
  readonly reference: string;
}

/** Throws a `RegistryError` for what is no request of this registry; whether it may be served is asked later. */
export function understandRequest(
  ctx: V2Context,
  { kind, prefix, reference, ...path }: ContentPath,
  addressing: Addressing,
): UnderstoodRequest {
  const { record } = ctx.state;
  record.kind = kind;
  const name = decode(path.name);
  const target = addressing.locate({ name, ...registryNamed(ctx, prefix) });
  record.upstream = target.upstream;
  record.target = target;
  record.reference = decode(reference);
  ctx.set('OCI-Namespace', target.upstream);
  return { target, name, reference: record.reference };
}

/** A request for what an upstream has: the same ways of saying which, but for the repository. */
export function understandCatalogRequest(
  ctx: V2Context,
  prefix: string | undefined,
  addressing: Addressing,
): RegistryTarget {
  const { record } = ctx.state;
  record.kind = 'catalog';
  const registry = addressing.resolveRegistry(registryNamed(ctx, prefix));
  record.upstream = registry.upstream;
  ctx.set('OCI-Namespace', registry.upstream);
  return registry;
}

/** The ways to name a registry; containerd's `ns` counts before the header of the spec. */
function registryNamed(ctx: V2Context, prefix: string | undefined) {
  return {
    prefix: prefix === undefined ? undefined : decode(prefix),
    namespace: queryValue(ctx, 'ns') || ctx.get('OCI-Namespace') || undefined,
    host: ctx.state.host,
  };
}

/** The first of a parameter's values; most requests have no query at all. */
export function queryValue(ctx: V2Context, name: string): string | undefined {
  return ctx.querystring === '' ? undefined : [ctx.query[name]].flat()[0];
}

/** Decodes once: a name may not be encoded twice or hide a slash. */
function decode(text: string): string {
  if (!text.includes('%')) return text;
  try {
    if (/%2f/i.test(text)) throw new URIError('encoded slash');
    return decodeURIComponent(text);
  } catch (cause) {
    throw new RegistryError('NAME_INVALID', { detail: TEXTS.badEncoding, cause });
  }
}
