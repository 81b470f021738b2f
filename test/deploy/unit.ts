import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A systemd unit, and the walls around its command as bubblewrap and seccomp make them. */
export class Unit {
  readonly text: string;

  constructor(path: string) {
    this.text = readFileSync(path, 'utf8');
  }

  /** Each value of a key that the unit sets, in order; an empty one takes back those before. */
  values(key: string): string[] {
    const lines = this.text.split('\n').flatMap((line) => {
      const [name, ...value] = line.split('=');
      return name === key ? [value.join('=')] : [];
    });
    const from = lines.lastIndexOf('');
    return lines.slice(from + 1);
  }

  value(key: string): string | undefined {
    return this.values(key).at(-1);
  }

  isOn(key: string): boolean {
    return this.value(key) === 'yes';
  }

  /** The calls of `SystemCallFilter`, as systemd itself lists the members of its sets. */
  get calls(): string[] {
    const allowed = new Set<string>();
    for (const line of this.values('SystemCallFilter')) {
      const isRefused = line.startsWith('~');
      for (const name of line.replace('~', '').split(' ').flatMap(membersOf)) {
        if (isRefused) allowed.delete(name);
        else allowed.add(name);
      }
    }
    return [...allowed].toSorted();
  }

  /** What `bwrap` is given for a command that may write to this folder alone, and read these. */
  wallsAround(state: string, readable: readonly string[]): string[] {
    const walls = ['--die-with-parent', '--new-session', '--dev-bind', '/', '/'];
    if (this.value('ProtectSystem') === 'strict') walls.splice(2, 3, '--ro-bind', '/', '/');
    if (this.isOn('ProtectHome')) {
      walls.push(...['/home', '/root', '/run/user'].flatMap((home) => ['--tmpfs', home]));
    }
    if (this.isOn('PrivateTmp')) walls.push('--tmpfs', '/tmp', '--tmpfs', '/var/tmp');
    if (this.isOn('PrivateDevices')) walls.push('--dev', '/dev');
    if (this.isOn('PrivateUsers')) walls.push('--unshare-user', '--uid', '990', '--gid', '990');
    if (this.isOn('RestrictNamespaces')) walls.push('--disable-userns');
    if (this.isOn('PrivateIPC')) walls.push('--unshare-ipc');
    if (this.isOn('ProtectHostname')) walls.push('--unshare-uts');
    if (this.value('CapabilityBoundingSet') === undefined) walls.push('--cap-drop', 'ALL');
    for (const path of readable) walls.push('--ro-bind', path, path);
    return [...walls, '--bind', state, state, '--chdir', state];
  }

  /** Written to this file, for `bwrap --seccomp`. */
  writeFilter(path: string): void {
    const families = (this.value('RestrictAddressFamilies') ?? '').replaceAll(' ', ',');
    const error = this.value('SystemCallErrorNumber') ?? 'EPERM';
    const program = join(import.meta.dirname, 'unit-walls.py');
    execFileSync('/usr/bin/python3', [program, path, error, families, ...this.calls]);
  }
}

function membersOf(name: string): string[] {
  if (!name.startsWith('@')) return [name];
  const listed = execFileSync('systemd-analyze', ['syscall-filter', name], { encoding: 'utf8' });
  return listed
    .split('\n')
    .slice(1)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .flatMap(membersOf);
}
