import type { IncomingMessage } from 'node:http';
import type { ParsedUrlQuery } from 'node:querystring';
import type { Context } from 'koa';
import { badRequest, RegistryError } from '../oci/errors.ts';
import { TEXTS } from './texts.ts';

const MAX_BODY_BYTES = 2 ** 20;
/** All of it, however slowly it comes. */
const BODY_MS = 30_000;
const MAX_SHOWN = 80;
/** What says of a change what was changed, and is no secret. */
const TOLD: ReadonlySet<string> = new Set(
  'image images ref reason name owner expires bytes add platforms deadline allowOlder'.split(' '),
);

/**
 * The named values of a query or of a JSON body, and no others. Whatever is wrong is thrown as a
 * `RegistryError` with status 400 that says what to write.
 */
export class AdminInput {
  /** By the request, or the query of one. */
  static readonly #read = new WeakMap<object, AdminInput>();

  readonly #values: ReadonlyMap<string, unknown>;
  readonly #isText: boolean;

  static ofQuery(query: ParsedUrlQuery, names: readonly string[]): AdminInput {
    const input = new AdminInput(Object.entries(query), names, true);
    AdminInput.#read.set(query, input);
    return input;
  }

  /** What was read of a request so far, of the names that a log may tell. */
  static readFrom({ req, query }: Pick<Context, 'req' | 'query'>): [string, unknown][] {
    const inputs = [req, query].flatMap((from) => AdminInput.#read.get(from) ?? []);
    return inputs.flatMap((input) => [...input.#values]).filter(([name]) => TOLD.has(name));
  }

  /**
   * Reads the body; none is an object without keys. A write must say that it is JSON, which a form
   * of a web page cannot: 415. More than `maxBytes`, 1 MiB, is 413.
   */
  static async ofBody(
    request: IncomingMessage,
    names: readonly string[],
    maxBytes = MAX_BODY_BYTES,
  ): Promise<AdminInput> {
    requireJson(request);
    const body = parseBody(await readBody(request, maxBytes));
    if (typeof body !== 'object' || body === null || Array.isArray(body)) {
      throw badRequest(TEXTS.bodyNoObject({ names: listOf(names) }));
    }
    const input = new AdminInput(Object.entries(body), names, false);
    AdminInput.#read.set(request, input);
    return input;
  }

  constructor(values: [string, unknown][], names: readonly string[], isText: boolean) {
    for (const [name] of values) {
      if (names.includes(name)) continue;
      throw badRequest(TEXTS.unknownName({ name: show(name), names: listOf(names) }));
    }
    this.#values = new Map(values);
    this.#isText = isText;
  }

  text(name: string): string {
    const text = this.optionalText(name);
    if (text === undefined) throw badRequest(TEXTS.missing({ name }));
    return text;
  }

  optionalText(name: string): string | undefined {
    const value = this.#values.get(name);
    if (value === undefined) return undefined;
    if (typeof value === 'string' && value.trim() !== '') return value;
    throw badRequest(TEXTS.noText({ name, found: show(value) }));
  }

  texts(name: string): readonly string[] {
    const value = this.#values.get(name);
    const isList = Array.isArray(value);
    const wrong = isList ? value.findIndex((item) => typeof item !== 'string') : -1;
    if (isList && wrong === -1) return value as string[];
    const found = isList ? TEXTS.listWith({ item: show(value[wrong]) }) : show(value);
    throw badRequest(TEXTS.noTexts({ name, found }));
  }

  /** Of a query: every value of a name that may stand there several times. */
  optionalEach(name: string): readonly string[] {
    const value = this.#values.get(name) ?? [];
    const values = Array.isArray(value) ? (value as unknown[]) : [value];
    const isSound = values.every((each) => typeof each === 'string' && each.trim() !== '');
    if (isSound) return values as string[];
    throw badRequest(TEXTS.noText({ name, found: show(value) }));
  }

  optionalTexts(name: string): readonly string[] | undefined {
    return this.#values.get(name) === undefined ? undefined : this.texts(name);
  }

  optionalOneOf<Choice extends string>(
    name: string,
    choices: readonly Choice[],
  ): Choice | undefined {
    const value = this.#values.get(name);
    if (value === undefined) return undefined;
    const choice = choices.find((candidate) => candidate === value);
    if (choice === undefined) {
      throw badRequest(TEXTS.noChoice({ name, choices: listOf(choices), found: show(value) }));
    }
    return choice;
  }

  optionalFlag(name: string): boolean | undefined {
    const value = this.#values.get(name);
    if (value === undefined || typeof value === 'boolean') return value;
    throw badRequest(TEXTS.noFlag({ name, found: show(value) }));
  }

  /** Its keys are the caller's to check. */
  optionalObject(name: string): object | undefined {
    const value = this.#values.get(name);
    if (value === undefined) return undefined;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
    throw badRequest(TEXTS.noObject({ name, found: show(value) }));
  }

  /** A list of objects, whose keys are the caller's to check. */
  optionalObjects(name: string): readonly object[] | undefined {
    const value = this.#values.get(name);
    if (value === undefined) return undefined;
    const isSound =
      Array.isArray(value) &&
      value.every((each) => typeof each === 'object' && each !== null && !Array.isArray(each));
    if (isSound) return value as object[];
    throw badRequest(TEXTS.noObjects({ name, found: show(value) }));
  }

  /** A whole number from 1 to `most`. */
  optionalCount(name: string, most: number): number | undefined {
    const value = this.#values.get(name);
    if (value === undefined) return undefined;
    const isDigits = typeof value === 'string' && /^\d+$/.test(value);
    const count = this.#isText && isDigits ? Number(value) : value;
    if (typeof count === 'number' && Number.isInteger(count) && count >= 1 && count <= most) {
      return count;
    }
    throw badRequest(TEXTS.noCount({ name, most, found: show(value) }));
  }
}

function requireJson(request: IncomingMessage): void {
  const [type = ''] = (request.headers['content-type'] ?? '').split(';');
  if (type.trim().toLowerCase() === 'application/json') return;
  throw new RegistryError('UNSUPPORTED', {
    status: 415,
    message: TEXTS.bodyType,
  });
}

/** Reads to the end even when it is too large: a client that still writes would not read the answer. */
async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const timer = setTimeout(() => request.destroy(), BODY_MS);
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes <= maxBytes) chunks.push(chunk);
    }
  } catch (cause) {
    throw badRequest(TEXTS.bodyCut, { cause });
  } finally {
    clearTimeout(timer);
  }
  if (bytes <= maxBytes) return Buffer.concat(chunks);
  throw new RegistryError('UNSUPPORTED', {
    status: 413,
    message: TEXTS.bodyTooLarge({ most: maxBytes }),
  });
}

function parseBody(body: Buffer): unknown {
  if (body.length === 0) return {};
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (cause) {
    throw badRequest(TEXTS.bodyNotJson, { cause });
  }
}

function listOf(names: readonly string[]): string {
  const quoted = names.map((name) => `"${name}"`);
  return quoted.length === 0 ? 'nothing' : quoted.join(' or ');
}

function show(value: unknown): string {
  const text = value === undefined ? 'nothing' : textOf(value);
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`;
}

/** Lists in lists may be read deeper than they can be written. */
function textOf(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch {
    return '…';
  }
}
