import type { ExecutionContext } from 'ava';

/** One answer as it stood on the wire. */
export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/**
 * The answers of one connection in the order they came; throws when the bytes are no HTTP. `methods`
 * are those of the requests, where one is a HEAD.
 */
export function parseAnswers(text: string, methods: readonly string[] = []): RawAnswer[] {
  const answers: RawAnswer[] = [];
  for (let rest = text; rest !== '';) {
    const headEnd = rest.indexOf('\r\n\r\n');
    const [line = '', ...fields] = rest.slice(0, headEnd).split('\r\n');
    const match = /^HTTP\/1\.1 (\d{3}) [^\r\n]*$/.exec(line);
    if (headEnd === -1 || !match) throw new Error(`not an answer: ${rest.slice(0, 200)}`);
    const status = Number(match[1]);
    const headers = new Map(
      fields.map((field) => {
        const [, name = '', value = ''] = /^([^:]+): *(.*)$/.exec(field) ?? [];
        return [name.toLowerCase(), value];
      }),
    );
    rest = rest.slice(headEnd + 4);
    const isBodiless = methods[answers.length] === 'HEAD' || status === 304 || status < 200;
    const length = isBodiless ? 0 : Number(headers.get('content-length') ?? rest.length);
    answers.push({ status, headers, body: rest.slice(0, length) });
    rest = rest.slice(length);
  }
  return answers;
}

/** The error document of the distribution spec, and no fault of the server's own. */
export function assertSpecError(
  t: ExecutionContext,
  answer: RawAnswer,
  { message, isHead = false }: { message: string; isHead?: boolean },
): void {
  t.true(answer.status >= 400 && answer.status !== 500, `${message}: ${answer.status}`);
  t.is(answer.headers.get('content-type'), 'application/json', message);
  if (isHead) {
    t.is(answer.body, '', message);
    return;
  }
  t.regex(codeOf(answer.body) ?? '', /^[A-Z][A-Z_]*$/, message);
}

/** The code of an error document; `undefined` when it is none. */
export function codeOf(body: string | Buffer): string | undefined {
  try {
    const document = JSON.parse(body.toString()) as { errors?: { code?: string }[] };
    return document.errors?.[0]?.code;
  } catch {
    return undefined;
  }
}

/** Whether the message begins with the cause, on the one line that clients print. */
export function hasCauseFirst(body: string | Buffer): boolean {
  const { errors } = JSON.parse(body.toString()) as {
    errors: { message: string; detail: string }[];
  };
  return errors.every(({ message, detail }) => message.split('\n')[0]!.startsWith(`${detail}: `));
}
