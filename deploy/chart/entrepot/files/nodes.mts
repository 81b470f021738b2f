// Keeps a node's configuration in step with the mirror: there while it answers, away while it does not, and
// away when this ends. Nothing is imported from the project: the chart carries this file to the nodes.
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';

/** Most time for one look at the mirror, and for one run of the command. */
const LOOK_MS = 5_000;
const COMMAND_MS = 20_000;
/** After so many looks that found nothing new the command runs again: others write to a node's files too. */
const LOOKS_BETWEEN = 30;
/** At the end the files are to go before the pod is killed. */
const LAST_TRIES = 3;
const LAST_PAUSE_MS = 1_000;

/** What follows `--` is the command that writes with `--write` and takes away with `--remove`, each at one blow. */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    mode: { type: 'string', default: 'write' },
    address: { type: 'string', default: '' },
    ca: { type: 'string' },
    interval: { type: 'string', default: '10' },
    failures: { type: 'string', default: '3' },
    state: { type: 'string' },
  },
});
const [program = '', ...command] = positionals;
const stopped = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stopped.abort());

/** Looks in vain, one after the other. After `failures` of them the files go, the next good look brings them back. */
let vain = 0;
/** What was done last; unknown at the start, as files of a pod that was killed may be there. */
let done: '--write' | '--remove' | undefined;
/** Looks until it is done again. */
let rest = 0;

while (!stopped.signal.aborted) {
  if (values.mode === 'remove') await reach('--remove');
  else if (await answers()) {
    vain = 0;
    await reach('--write');
  } else {
    vain = Math.min(vain + 1, Number(values.failures));
    if (vain === Number(values.failures)) await reach('--remove');
  }
  await pause(Number(values.interval) * 1_000, undefined, { signal: stopped.signal }).catch(
    () => {},
  );
}
// Nothing that was begun is under way any more: the last word is that the files go.
let isAway = await reach('--remove');
for (let tries = 1; !isAway && tries < LAST_TRIES; tries += 1) {
  await pause(LAST_PAUSE_MS);
  isAway = await reach('--remove');
}
process.exitCode = isAway ? 0 : 1;

/** Runs the command where it was not the last thing done, or long ago. What fails is tried again after the next look. */
async function reach(wanted: '--write' | '--remove'): Promise<boolean> {
  const isKnown = done === wanted;
  if (isKnown && rest > 0) {
    rest -= 1;
    return true;
  }
  // What is cut short may have done a part.
  done = undefined;
  const failure = await run(wanted);
  if (failure === undefined) {
    done = wanted;
    rest = LOOKS_BETWEEN;
    if (values.state !== undefined) writeFileSync(values.state, `${wanted}\n`);
  }
  if (!isKnown || failure !== undefined)
    tell(failure === undefined ? 'info' : 'error', `${wanted}: ${failure ?? 'done'}`);
  return failure === undefined;
}

/** In a session of its own: what stops this file is no reason to stop half-way. */
function run(wanted: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn(program, [...command, wanted], {
      stdio: ['ignore', 'inherit', 'inherit'],
      detached: true,
      timeout: COMMAND_MS,
      killSignal: 'SIGKILL',
    });
    child.once('error', ({ message }) => resolve(message));
    child.once('exit', (code, signal) =>
      resolve(code === 0 ? undefined : `ended with ${code ?? signal}`),
    );
  });
}

/** Whether a client would be served: the registry's own greeting, or its question who is there, within LOOK_MS. */
function answers(): Promise<boolean> {
  const signal = AbortSignal.any([stopped.signal, AbortSignal.timeout(LOOK_MS)]);
  return new Promise((resolve) => {
    const no = (): void => resolve(false);
    try {
      const url = new URL('/v2/', values.address);
      const ca = values.ca === undefined ? {} : { ca: readFileSync(values.ca) };
      const open = url.protocol === 'https:' ? requestHttps : requestHttp;
      const request = open(url, { signal, agent: false, ...ca }, (response) => {
        response.resume().once('error', no);
        resolve([200, 401].includes(response.statusCode ?? 0));
      });
      request.once('error', no).end();
    } catch (error) {
      tell('error', String(error));
      no();
    }
  });
}

function tell(level: string, msg: string): void {
  process.stdout.write(`${JSON.stringify({ level, time: new Date().toISOString(), msg })}\n`);
}
