import type { ScannedImage } from '../access/bearer-tokens.ts';
import type { ScannerPasses } from '../access/scanner-passes.ts';
import type { Addressing } from '../mirror/addressing.ts';
import type { Mirror } from '../mirror/mirror.ts';
import { RegistryError } from '../oci/errors.ts';
import { formatTarget } from '../oci/reference.ts';
import { demandOf } from '../upstream/demand.ts';
import { keepApart } from './answer-headers.ts';
import { BlobHandler } from './blob-handler.ts';
import type { BufferPool } from './buffer-pool.ts';
import { understandRequest, type UnderstoodRequest } from './content-request.ts';
import { CONTENT_ROUTES, parseContentPath, type Content } from './content-routes.ts';
import { ManifestHandler } from './manifest-handler.ts';
import type { V2Context } from './request-record.ts';
import { TEXTS } from './texts.ts';

export interface ScannerDoorParts {
  readonly passes: ScannerPasses;
  readonly mirror: Pick<Mirror, 'ungated'>;
  readonly addressing: Addressing;
  readonly buffers: BufferPool;
}

const PING = /^\/v2\/?$/;
const TOKEN_PATH = '/token';
/** Who stands in line, and whom the log tells of. */
const SCANNER = 'scanner';

/**
 * Where a vulnerability scanner comes in with its pass: past the rules and the gate, which waits for it, to
 * the one manifest of the pass by its digest, its config and its layers. Where it comes with a password and is
 * sent to `/token`, as where `access` is set, the token is the same pass. All else is refused, also what is open
 * to everybody.
 */
export class ScannerDoor {
  readonly #parts: ScannerDoorParts;
  readonly #handlers;

  constructor(parts: ScannerDoorParts) {
    this.#parts = parts;
    const { ungated } = parts.mirror;
    this.#handlers = {
      manifests: new ManifestHandler(ungated, parts.buffers),
      blobs: new BlobHandler(ungated.blobs, parts.buffers),
    };
  }

  /** False: it shows no pass. Throws `DENIED`. */
  async answer(ctx: V2Context): Promise<boolean> {
    const pass = await this.#parts.passes.find(ctx.req.headers.authorization);
    if (!pass) return false;
    keepApart(ctx);
    ctx.state.record.subject = SCANNER;
    ctx.state.inLine = SCANNER;
    if (PING.test(ctx.path)) {
      ctx.state.record.kind = 'ping';
      ctx.body = '{}';
      return true;
    }
    if (ctx.path === TOKEN_PATH && pass.token !== undefined) {
      ctx.state.record.kind = 'token';
      ctx.set('Cache-Control', 'private, no-store');
      ctx.body = { token: pass.token, access_token: pass.token };
      return true;
    }
    const path = parseContentPath(ctx.path);
    if (!path) throw denied(ctx);
    const { kind } = CONTENT_ROUTES[path.what];
    const request = understandRequest(ctx, { kind, ...path }, this.#parts.addressing);
    if (!(await this.#isOf(pass, path.what, request))) throw denied(ctx);
    this.#parts.addressing.requireAllowed(request.target);
    const demand = demandOf(SCANNER);
    await this.#handlers[path.what as 'manifests' | 'blobs'].handle(ctx, { ...request, demand });
    return true;
  }

  async #isOf(
    { of, digest }: ScannedImage,
    what: Content,
    { target, reference }: UnderstoodRequest,
  ): Promise<boolean> {
    if (formatTarget(target) !== of) return false;
    if (what === 'manifests') return reference === digest;
    return what === 'blobs' && this.#parts.mirror.ungated.lists(digest, reference);
  }
}

function denied(ctx: V2Context): RegistryError {
  ctx.state.record.denied = 'scope';
  return new RegistryError('DENIED', { message: TEXTS.otherThanScanned });
}
