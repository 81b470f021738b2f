import type { TestFn } from 'ava';
import { missingPackages, missingRights, testUnless, type Command } from '../helpers/needs.ts';

const ALWAYS: readonly Command[] = [
  'unshare',
  'nsenter',
  'ip',
  'docker-registry',
  'skopeo',
  'umoci',
];

/** The tests of a suite run one after the other, where this machine can run them. */
export function suite(name: string, ...commands: Command[]): TestFn['serial'] {
  const obstacle = missingPackages(...ALWAYS, ...commands) ?? missingRights();
  return testUnless(name, obstacle).serial;
}
