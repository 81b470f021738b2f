import * as z from 'zod';
import { ConfigError, repeated } from './problems.ts';
import { TEXTS } from './texts.ts';

/** Read-only at every depth. */
export type Frozen<T> = { readonly [Key in keyof T]: Frozen<T[Key]> };

/**
 * A map of which every key has a default: absent, empty and `~` are the same. Who writes a text in
 * its place means the key `main`.
 */
export function section<T extends z.ZodRawShape>(main: string, shape: T) {
  const inner = z.strictObject(shape, {
    error: ({ code, input }) =>
      code === 'invalid_type' ? TEXTS.mapWith({ key: main, value: repeated(input) }) : undefined,
  });
  return inner.nullish().transform((value) => value ?? inner.parse({}));
}

/** A transform that checks a text with a parser and keeps it as it is. */
export function validated(parse: (text: string) => unknown) {
  return converted((text: string) => {
    parse(text);
    return text;
  });
}

/** A transform whose `ConfigError` becomes issues of the schema. */
export function converted<I, O>(convert: (value: I) => O) {
  return (value: I, context: z.RefinementCtx<I>): O => {
    try {
      return convert(value);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      for (const message of error.problems) context.addIssue({ code: 'custom', message });
      return z.NEVER;
    }
  };
}
