import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { Router } from '@koa/router';
import type { LayoutApi } from '../api/layout-api.ts';
import type {
  BlobRange,
  BundleApi,
  BundledFile,
  BundleWish,
  DraftApi,
  IntakeApi,
} from '../api/bundle-api.ts';
import { isDigest } from '../oci/digest.ts';
import { badRequest, RegistryError } from '../oci/errors.ts';
import { essence } from '../oci/media-types.ts';
import { AdminInput } from './admin-input.ts';
import { readPlatforms } from './parsed-input.ts';
import { TEXTS } from './texts.ts';

/** The largest inventory, which has 64 MiB, in base64, and beside it a lock of some 40,000 images. */
const MAX_WISH_BYTES = 96 * 2 ** 20;
/** The longest name that file systems take. */
const MAX_NAME_LENGTH = 255;
const LINGER_MS = 10_000;

/** Bundles that are made here and taken in here. */
export function addBundleRoutes(router: Router, bundles: BundleApi): void {
  const { inventory, drafts, imports, layouts } = bundles;
  router.get('/api/v1/inventory', async (ctx) => {
    ctx.type = 'application/octet-stream';
    ctx.body = await inventory.make();
  });
  addDraftRoutes(router, drafts);
  addImportRoutes(router, imports);
  addLayoutRoute(router, layouts);
}

/** A part is read as it comes, and answered when all of it is in the store. */
function addImportRoutes(router: Router, imports: IntakeApi): void {
  router.get('/api/v1/bundles', (ctx) => {
    ctx.body = imports.report;
  });
  router.post('/api/v1/bundles/parts', async (ctx) => {
    requireTar(ctx.req);
    const input = AdminInput.ofQuery(ctx.query, ['allowOlder']);
    const allowOlder = input.optionalOneOf('allowOlder', ['true', 'false']) === 'true';
    ctx.body = await orDrained(ctx.req, imports.receive(ctx.req, { allowOlder }));
  });
}

/** A draft is answered at once and looked at later; its blobs are asked for when it is ready. */
function addDraftRoutes(router: Router, drafts: DraftApi): void {
  router.post('/api/v1/bundles/drafts', async (ctx) => {
    const names = ['images', 'lock', 'inventory', 'files', 'platforms', 'isPlain'];
    const input = await AdminInput.ofBody(ctx.req, names, MAX_WISH_BYTES);
    const state = await drafts.draft(readWish(input));
    ctx.status = 202;
    ctx.set('Location', `/api/v1/bundles/drafts/${state.id}`);
    ctx.body = state;
  });
  router.get('/api/v1/bundles/drafts/:id', (ctx) => {
    const state = drafts.draftState(ctx.params['id'] ?? '');
    if (!state) throw new RegistryError('NAME_UNKNOWN', { message: TEXTS.noSuchDraft });
    ctx.body = state;
  });
  router.delete('/api/v1/bundles/drafts/:id', (ctx) => {
    drafts.end(ctx.params['id'] ?? '');
    ctx.status = 204;
  });
  router.get('/api/v1/bundles/drafts/:id/blobs/:digest', async (ctx) => {
    const { id = '', digest = '' } = ctx.params;
    const range = readRange(AdminInput.ofQuery(ctx.query, ['start', 'end']));
    if (!drafts.draftState(id)) {
      throw new RegistryError('NAME_UNKNOWN', { message: TEXTS.noSuchDraft });
    }
    const bytes = await drafts.openBlob(id, digest, range);
    if (!bytes) {
      throw new RegistryError('BLOB_UNKNOWN', { message: TEXTS.noSuchBlob({ digest }) });
    }
    // Its headers are sent by then: only a broken connection tells that not all of it came.
    const stream = bytes instanceof Readable ? bytes : Readable.from(bytes);
    stream.once('error', () => ctx.res.destroy());
    ctx.type = 'application/octet-stream';
    ctx.length = range.end - range.start;
    ctx.body = stream;
  });
}

/** An image as other tools write it to files, in a tar that is read as it comes. */
function addLayoutRoute(router: Router, layouts: LayoutApi): void {
  router.post('/api/v1/bundles/layouts', async (ctx) => {
    const input = AdminInput.ofQuery(ctx.query, ['image', 'ref']);
    const [image, ref] = [input.text('image'), input.optionalText('ref')];
    requireTar(ctx.req);
    const wish = { image, ...(ref !== undefined && { ref }) };
    ctx.body = await orDrained(ctx.req, layouts.importLayout(ctx.req, wish));
  });
}

/**
 * Of a tar that is refused before its end the rest is read and let go, for ten seconds at most: a connection that is
 * closed with bytes unread is reset, and the refusal may be lost with it. Its sender closes it.
 */
async function orDrained<Answer>(request: IncomingMessage, work: Promise<Answer>): Promise<Answer> {
  try {
    return await work;
  } catch (error) {
    const late = setTimeout(() => request.destroy(), LINGER_MS);
    request.once('close', () => clearTimeout(late));
    request.resume();
    throw error;
  }
}

/** A form of a web page cannot say so. */
function requireTar({ headers }: IncomingMessage): void {
  if (essence(headers['content-type']) === 'application/x-tar') return;
  throw new RegistryError('UNSUPPORTED', { status: 415, message: TEXTS.noTar });
}

function readWish(input: AdminInput): BundleWish {
  const images = input.optionalTexts('images');
  const lock = input.optionalObject('lock');
  const inventory = input.optionalText('inventory');
  const platforms = readPlatforms(input);
  const isPlain = input.optionalFlag('isPlain');
  return {
    ...(images && { images }),
    ...(lock && { lock }),
    ...(inventory !== undefined && { inventory }),
    files: (input.optionalObjects('files') ?? []).map(readFile),
    ...(platforms && { platforms }),
    ...(isPlain !== undefined && { isPlain }),
  };
}

function readFile(value: object, at: number): BundledFile {
  const { name, digest, size } = value as Partial<Record<string, unknown>>;
  const isName =
    typeof name === 'string' &&
    name.length <= MAX_NAME_LENGTH &&
    !/[/\\\0]/.test(name) &&
    !/^\.{0,2}$/.test(name);
  if (!isName || !isDigest(digest) || !Number.isSafeInteger(size) || Number(size) < 0) {
    throw badRequest(TEXTS.badFile({ at }));
  }
  return { name, digest, size: Number(size) };
}

function readRange(input: AdminInput): BlobRange {
  const [start, end] = [input.text('start'), input.text('end')];
  const range = { start: Number(start), end: Number(end) };
  const isSound = [start, end].every((each) => /^\d{1,15}$/.test(each)) && range.start < range.end;
  if (!isSound) throw badRequest(TEXTS.badRange({ start, end }));
  return range;
}
