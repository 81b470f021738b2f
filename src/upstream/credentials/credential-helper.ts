import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { parseJsonObject } from '../../net/content-coding.ts';
import type { Issued } from '../expiring-value.ts';
import type { Credential } from './credential.ts';
import { TEXTS } from '../texts.ts';

export interface HelperParts {
  /** The program is `docker-credential-<name>`, looked for on the PATH. */
  readonly name: string;
  /** The registry as it was logged in to. */
  readonly server: string;
}

interface Outcome {
  /** The code of what kept it from running, or how it ended; `undefined`: well. */
  readonly failure: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Helpers name no expiry, and a `docker login` may change what they keep at any time. */
const LIFE_MS = 10 * 60_000;
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
    const reason = reasonOf(failure, { stdout, stderr }, parts);
    throw new Error(TEXTS.helperFailed({ program, reason }));
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

/** `askProvider` ends what is late, with whatever it has started. */
async function run(program: string, { server }: HelperParts): Promise<Outcome> {
  const child = spawn(program, ['get']);
  const { promise, resolve } = Promise.withResolvers<Outcome['failure']>();
  const collect = (stream: Readable): Buffer[] => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > MAX_OUTPUT_BYTES) resolve('talks');
    });
    return chunks;
  };
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  child.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown'));
  child.on('close', (code) => resolve(code === 0 ? undefined : 'failed'));
  // A program that answers without reading its input closes the pipe early.
  child.stdin.on('error', () => {});
  child.stdin.end(`${server}\n`);
  const failure = await promise;
  const [out = '', err = ''] = [stdout, stderr].map((chunks) => Buffer.concat(chunks).toString());
  return { failure, stdout: out, stderr: err };
}

function reasonOf(
  failure: NonNullable<Outcome['failure']>,
  { stdout, stderr }: Pick<Outcome, 'stdout' | 'stderr'>,
  { server }: HelperParts,
): string {
  if (failure === 'ENOENT') return TEXTS.helperMissing;
  if (failure === 'EACCES') return TEXTS.helperDenied;
  if (failure === 'talks') return TEXTS.helperTalks;
  const [said = ''] = [stdout, stderr].map(firstLine).filter((line) => line !== '');
  if (said.startsWith(NOT_FOUND)) return TEXTS.helperWithout({ server });
  return TEXTS.helperSaid({ said: said === '' ? '' : `: ${said}` });
}

/** Helpers print errors to stdout, as they do answers: what looks like an answer is left out. */
function firstLine(output: string): string {
  const [line = ''] = output.trim().split('\n', 1);
  return line.startsWith('{') ? '' : line.trim().slice(0, MAX_REASON_LENGTH);
}
