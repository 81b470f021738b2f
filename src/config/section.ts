import * as z from 'zod';
import { ConfigError, repeated } from './problems.ts';
import { TEXTS } from './texts.ts';

/** Read-only at every depth. */
export type Frozen<T> = { readonly [Key in keyof T]: Frozen<T[Key]> };

/** A map. Who writes a text in its place means the key `main`, or what is told. */
export function mapped<T extends z.ZodRawShape>(main: string, shape: T, told?: string) {
  return z.strictObject(shape, {
    error: ({ code, input }) =>
      code === 'invalid_type'
        ? (told ?? TEXTS.mapWith({ key: main, value: repeated(input) }))
        : undefined,
  });
}

/** A map of which every key has a default: absent, empty and `~` are the same. As `mapped` else. */
export function section<T extends z.ZodRawShape>(main: string, shape: T, told?: string) {
  const inner = mapped(main, shape, told);
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
