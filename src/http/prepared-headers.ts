import type { IncomingMessage } from 'node:http';
import { formatAge } from './answer-headers.ts';
import type { RequestRecord } from './request-record.ts';

/** Stands for what is told of a request that nobody has sent. */
const NOBODY: RequestRecord = {
  startedAt: 0,
  id: '',
  client: undefined,
  trace: undefined,
  kind: 'other',
  bytes: 0,
};

/**
 * The headers of an answer as they are written, in the order and the spelling in which the application sets them:
 * names and values in turn, of which only the id of the request and the age are another one each time.
 */
export class PreparedHeaders {
  /** As a context has them, for the functions that set headers. */
  readonly req = { headers: {}, socket: {} } as IncomingMessage;
  readonly state = { record: { ...NOBODY }, isProxied: false, inLine: undefined, isPrivate: false };
  readonly #list: string[] = ['X-Request-Id', ''];
  readonly #age: number;

  /** `size`: of the content; without it no header tells of any. */
  constructor(write: (answer: PreparedHeaders) => void, size: number | undefined) {
    write(this);
    if (size === undefined) this.#remove('Content-Type');
    else this.set('Content-Length', String(size));
    this.#age = this.#list.indexOf('Age') + 1;
  }

  set(name: string, value: string): void {
    const place = this.#list.findIndex(
      (each, at) => at % 2 === 0 && each.toLowerCase() === name.toLowerCase(),
    );
    if (place === -1) this.#list.push(name, value);
    else this.#list[place + 1] = value;
  }

  /** For one answer, which has to be written before the next call. */
  of(id: string, ageMs: number | undefined): string[] {
    this.#list[1] = id;
    if (ageMs !== undefined) this.#list[this.#age] = formatAge(ageMs);
    return this.#list;
  }

  #remove(name: string): void {
    const place = this.#list.indexOf(name);
    if (place !== -1) this.#list.splice(place, 2);
  }
}
