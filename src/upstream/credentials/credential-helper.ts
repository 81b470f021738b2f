import { execFile } from 'node:child_process';
import { parseJsonObject } from '../../net/json-object.ts';
import type { Issued } from '../expiring-value.ts';
import type { Credential } from './credential.ts';
import { TEXTS } from '../texts.ts';

export interface HelperParts {
  /** The program is `docker-credential-<name>`, looked for on the PATH. */
  readonly name: string;
  /** The registry as it was logged in to. */
  readonly server: string;
  readonly limitMs?: number;
}

interface Outcome {
  /** `undefined`: the program ended well. */
  readonly failure: { readonly code?: unknown; readonly killed?: boolean | undefined } | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Helpers name no expiry, and a `docker login` may change what they keep at any time. */
const LIFE_MS = 10 * 60_000;
const LIMIT_MS = 10_000;
const MAX_OUTPUT_BYTES = 1024 * 1024;
const MAX_REASON_LENGTH = 200;
/** In place of a name: the secret is an identity token. */
const TOKEN_NAME = '<token>';
const NOT_FOUND = 'credentials not found in native keychain';

/**
 * Asks a credential helper of Docker. What it throws has no cause, for the program's output may
 * hold a secret.
 * @see https://github.com/docker/docker-credential-helpers
 */
export async function issueFromHelper(parts: HelperParts): Promise<Issued<Credential>> {
  const program = `docker-credential-${parts.name}`;
  const { failure, stdout, stderr } = await run(program, parts);
  if (failure) {
    const limitMs = parts.limitMs ?? LIMIT_MS;
    throw new Error(
      TEXTS.helperFailed({
        program,
        reason: reasonOf(failure, { stdout, stderr }, { ...parts, limitMs }),
      }),
    );
  }
  const { Username: username, Secret: secret } = parseJsonObject(Buffer.from(stdout)) ?? {};
  if (typeof username !== 'string' || typeof secret !== 'string' || !username || !secret) {
    throw new Error(TEXTS.helperSilent({ program, server: parts.server }));
  }
  const value: Credential =
    username === TOKEN_NAME
      ? { kind: 'identity-token', token: secret }
      : { kind: 'password', username, password: secret };
  return { value, lifeMs: LIFE_MS };
}

async function run(program: string, { server, limitMs = LIMIT_MS }: HelperParts): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = {
      timeout: limitMs,
      maxBuffer: MAX_OUTPUT_BYTES,
      killSignal: 'SIGKILL',
    } as const;
    const child = execFile(program, ['get'], options, (error, stdout, stderr) =>
      resolve({ failure: error ?? undefined, stdout, stderr }),
    );
    // A program that answers without reading its input closes the pipe early.
    child.stdin?.on('error', () => {});
    child.stdin?.end(`${server}\n`);
  });
}

function reasonOf(
  { code, killed }: NonNullable<Outcome['failure']>,
  { stdout, stderr }: Pick<Outcome, 'stdout' | 'stderr'>,
  { server, limitMs }: Required<HelperParts>,
): string {
  if (code === 'ENOENT') return TEXTS.helperMissing;
  if (code === 'EACCES') return TEXTS.helperDenied;
  if (code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') return TEXTS.helperTalks;
  if (killed) return TEXTS.helperLate({ seconds: limitMs / 1000 });
  const [said = ''] = [stdout, stderr].map(firstLine).filter((line) => line !== '');
  if (said.startsWith(NOT_FOUND)) return TEXTS.helperWithout({ server });
  return TEXTS.helperSaid({ said: said === '' ? '' : `: ${said}` });
}

/** Helpers print errors to stdout, as they do answers: what looks like an answer is left out. */
function firstLine(output: string): string {
  const [line = ''] = output.trim().split('\n', 1);
  return line.startsWith('{') ? '' : line.trim().slice(0, MAX_REASON_LENGTH);
}
