import { hashSync } from '@node-rs/bcrypt';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { OTHER_REGISTRY } from './images.ts';
import type { Login } from './login-client.ts';
import { startWorld, type World } from './world.ts';

/** The least that bcrypt takes: what a hash costs is not what is looked at here. */
const COST = 4;
const TOKEN = /^ent_\S+$/m;

/** A world whose mirror asks who is there: `library/legacy` is open, `library/app` of both registries is not. */
export interface AccessWorld extends World {
  /** May pull what is not open, each in its own way. */
  readonly password: Login;
  readonly apiToken: Login;
  readonly keyFile: Login;
  /** Is known, and may pull nothing beside what is open. */
  readonly stranger: Login;
  /** Says nothing here: what somebody has at Docker Hub. */
  readonly foreign: Login;
  /** The configuration of the mirror, for its next start. */
  readonly guarded: object;
}

export async function startAccessWorld(t: ExecutionContext): Promise<AccessWorld> {
  const world = await startWorld(t);
  // Several pulls of several clients, beside whatever else this machine does.
  t.timeout(300_000);
  const { mirror, netns, settings } = world;
  const password = { user: 'alice', secret: 'wonder land' };
  const stranger = { user: 'bob', secret: 'builder' };
  const file = join(netns.directory, 'htpasswd');
  const lines = [password, stranger].map(
    ({ user, secret }) => `${user}:${hashSync(secret, COST)}\n`,
  );
  await writeFile(file, lines.join(''));
  const images = ['docker.io/library/app', `${OTHER_REGISTRY}/library/app`];
  const guarded = {
    ...settings,
    access: {
      htpasswd: { file },
      rules: [
        { who: ['anonymous'], may: ['pull'], images: ['docker.io/library/legacy'] },
        { who: ['user:alice', 'token:ci', 'token:farm'], may: ['pull'], images },
      ],
    },
  };
  await mirror.restart(guarded, 'SIGTERM');
  const key = join(netns.directory, 'farm.json');
  const made = await mirror.command('token', 'create', 'ci');
  const kept = await mirror.command('token', 'create', 'farm', '--json-key', key);
  t.deepEqual([made.code, kept.code], [0, 0], made.problems + kept.problems);
  const [token = ''] = TOKEN.exec(made.output) ?? [];
  return {
    ...world,
    guarded,
    password,
    stranger,
    apiToken: { user: 'ci', secret: token },
    keyFile: { user: '_json_key', secret: await readFile(key, 'utf8') },
    foreign: { user: 'hub-user', secret: 'dckr_pat_0123456789' },
  };
}
