import { parsePlatform } from '../config/platform.ts';
import { ConfigError } from '../config/problems.ts';
import { badRequest } from '../oci/errors.ts';
import type { AdminInput } from './admin-input.ts';
import { TEXTS } from './texts.ts';

/** What is read as the configuration reads it. Throws a `RegistryError` with status 400 that says what to write. */
export function parsed<Value>(name: string, text: string, parse: (text: string) => Value): Value {
  try {
    return parse(text);
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    const message = TEXTS.notParsed({ name, reason: cause.problems.join('; ') });
    throw badRequest(message, { cause });
  }
}

/** One at least; `undefined` where the input names none. Throws as `parsed` does. */
export function readPlatforms(input: AdminInput): readonly string[] | undefined {
  const platforms = input.optionalTexts('platforms');
  if (platforms?.length === 0) {
    throw badRequest(TEXTS.noPlatforms);
  }
  return platforms?.map((each) => parsed('platforms', each, parsePlatform));
}
